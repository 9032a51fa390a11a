/** sqlite3's callbacks as promises, and its results as ours. */
import type sqlite3 from 'sqlite3'
import type { Result, Row, Statement } from './dialect'
import { messageOf } from './driver-error'
import { outermost, trimmed } from './sql-pieces'
import { SQLITE_LEXICON } from './sqlite-lexicon'
import { packed } from './sqlite-packed'
import type { SqlitePrepared } from './sqlite-prepared'
import { TextCache } from './text-cache'

export type RawConnection = sqlite3.Database

const CHANGES = new Set(['INSERT', 'REPLACE', 'UPDATE', 'DELETE'])

export function send(prepared: SqlitePrepared, statement: Statement): Promise<Result> {
  const { facts, take } = statement
  return take === 'count' && !facts.hasReturning
    ? sendForCount(prepared, statement)
    : sendForRows(prepared, statement)
}

function sendForCount(prepared: SqlitePrepared, statement: Statement): Promise<Result> {
  const { sql, facts } = statement
  const isInsert = facts.verb === 'INSERT' || facts.verb === 'REPLACE'
  if (statement.isOneOfMany === true) return run(prepared, packed(statement) ?? statement)
  if (!isInsert) return run(prepared, statement)
  // A SELECT may give rows without end, whose ids are not to be held in memory.
  if (/\bselect\b/i.test(sql)) return withoutStaleId(prepared, statement)
  const ofIds = (rows: readonly Row[]): Result => {
    const id = rows.at(-1)?.['id']
    // A table may have a column of that name, which is no rowid.
    return counted(facts.verb, rows.length, typeof id === 'number' ? id : null)
  }
  return prepared.all({ ...statement, sql: returningIds(sql) }, ofIds).catch(async (error: unknown) => {
    // A table without rowids, or one that cannot return anything, has no id to tell.
    if (!/^SQLITE_ERROR: [^]*(?:no such column: rowid|\bRETURNING\b)/i.test(messageOf(error))) throw error
    return { ...(await run(prepared, statement)), lastInsertId: null }
  })
}

/** The driver's id is that of the last row that got one, which an UPDATE after a conflict, or a table without rowids, gives none. */
async function withoutStaleId(prepared: SqlitePrepared, statement: Statement): Promise<Result> {
  const { sql } = statement
  const givesId = !/\bdo\s+update\b/i.test(sql) && (await prepared.isValid(returningIds(sql)))
  const result = await run(prepared, statement)
  return givesId ? result : { ...result, lastInsertId: null }
}

function run(prepared: SqlitePrepared, statement: Statement): Promise<Result> {
  const { verb } = statement.facts
  return prepared.run(statement, ({ changes, lastID }) => {
    // The driver's figures are those of the last statement that changed something, however long ago it was.
    const rowCount = CHANGES.has(verb) ? changes : 0
    return counted(verb, rowCount, verb === 'INSERT' && rowCount > 0 ? lastID : null)
  })
}

function counted(command: string, rowCount: number, lastInsertId: number | null): Result {
  const context = { changes: rowCount, lastID: lastInsertId ?? 0 }
  return { rows: [], rowCount, lastInsertId, command, forKnex: { response: [], context } }
}

function sendForRows(prepared: SqlitePrepared, statement: Statement): Promise<Result> {
  const { facts, asArrays, take } = statement
  const ofRows = (objects: Row[]): Result => {
    const rows = asArrays === true ? objects.map((row) => Object.values(row)) : objects
    const rowCount = CHANGES.has(facts.verb) ? rows.length : 0
    return {
      rows,
      rowCount,
      lastInsertId: null,
      command: facts.verb,
      forKnex: { response: rows, context: {} },
    }
  }
  if (take !== 'first' || !facts.isRead) return prepared.all(statement, ofRows)
  const limited = limitedToOne(statement)
  return limited === null
    ? prepared.first(statement, ofRows)
    : prepared.all({ ...statement, sql: limited }, ofRows)
}

const KNOWN_TEXTS = 1000
const withIds = new TextCache<string>(KNOWN_TEXTS)
const withLimits = new TextCache<string | null>(KNOWN_TEXTS)

/** The same INSERT, which gives the ids of its rows. */
function returningIds(sql: string): string {
  return withIds.for(sql, () => `${trimmed(sql, SQLITE_LEXICON, false)}\nRETURNING rowid AS id`)
}

/** The same query, ending with its first row; null where that cannot be written so easily. VALUES take no LIMIT. */
function limitedToOne({ sql, facts }: Statement): string | null {
  return withLimits.for(sql, () => {
    const isPlain = facts.verb === 'SELECT' && !/\b(?:limit|values)\b/i.test(outermost(sql, SQLITE_LEXICON))
    return isPlain ? `${trimmed(sql, SQLITE_LEXICON, false)}\nLIMIT 1` : null
  })
}

export function exec(raw: RawConnection, sql: string): Promise<void> {
  return new Promise((resolve, reject) => {
    raw.exec(sql, (error) => {
      if (error) reject(error)
      else resolve()
    })
  })
}

/** Runs a query and resolves to its rows as they are. */
export function all(raw: RawConnection, sql: string, bindings: readonly unknown[] = []): Promise<Row[]> {
  return new Promise((resolve, reject) => {
    raw.all<Row>(sql, [...bindings], (error, rows) => {
      if (error) reject(error)
      else resolve(rows)
    })
  })
}

const REPEAT_EVERY_MILLIS = 5

/** For interrupts: one that comes before the first step of a statement is forgotten, so it is repeated until the call is over. */
export async function repeatUntil(isOver: () => boolean, act: () => void): Promise<void> {
  await new Promise<void>((resolve) => {
    const once = (): void => {
      if (!isOver()) {
        act()
        return
      }
      clearInterval(timer)
      resolve()
    }
    const timer = setInterval(once, REPEAT_EVERY_MILLIS)
    once()
  })
}
