/** sqlite3's callbacks as promises, and its results as ours. */
import type sqlite3 from 'sqlite3'
import type { Result, Row, Statement } from './dialect'
import { messageOf } from './driver-error'
import { trimmed } from './sql-pieces'
import { SQLITE_LEXICON } from './sqlite-lexicon'

export type RawConnection = sqlite3.Database

const CHANGES = new Set(['INSERT', 'REPLACE', 'UPDATE', 'DELETE'])

export function send(raw: RawConnection, statement: Statement): Promise<Result> {
  const { facts, take } = statement
  return take === 'count' && !facts.hasReturning ? sendForCount(raw, statement) : sendForRows(raw, statement)
}

async function sendForCount(raw: RawConnection, statement: Statement): Promise<Result> {
  const { sql, facts } = statement
  const isInsert = facts.verb === 'INSERT' || facts.verb === 'REPLACE'
  // A SELECT may give rows without end, whose ids are not to be held in memory.
  if (isInsert && /\bselect\b/i.test(sql)) return withoutStaleId(raw, statement)
  if (!isInsert) return run(raw, statement)
  try {
    const { rows } = await sendForRows(raw, { ...statement, sql: returningId(statement) })
    const id = (rows.at(-1) as { id: unknown } | undefined)?.id
    // A table may have a column of that name, which is no rowid.
    return counted(facts.verb, rows.length, typeof id === 'number' ? id : null)
  } catch (error) {
    // A table without rowids, or one that cannot return anything, has no id to tell.
    if (!/^SQLITE_ERROR: [^]*(?:no such column: rowid|\bRETURNING\b)/i.test(messageOf(error))) throw error
    return { ...(await run(raw, statement)), lastInsertId: null }
  }
}

/** The driver's id is that of the last row that got one, which an UPDATE after a conflict, or a table without rowids, gives none. */
async function withoutStaleId(raw: RawConnection, statement: Statement): Promise<Result> {
  const givesId = !/\bdo\s+update\b/i.test(statement.sql) && (await isPrepared(raw, returningId(statement)))
  const result = await run(raw, statement)
  return givesId ? result : { ...result, lastInsertId: null }
}

function isPrepared(raw: RawConnection, sql: string): Promise<boolean> {
  return new Promise((resolve) => {
    const prepared = raw.prepare(sql, (error: Error | null) => {
      if (error === null) prepared.finalize()
      resolve(error === null)
    })
  })
}

function returningId({ sql }: Statement): string {
  return `${trimmed(sql, SQLITE_LEXICON, true)}\nRETURNING rowid AS id`
}

function run(raw: RawConnection, { sql, bindings, facts }: Statement): Promise<Result> {
  return new Promise((resolve, reject) => {
    raw.run(sql, [...bindings], function (this: sqlite3.RunResult, error: Error | null) {
      if (error) {
        reject(error)
        return
      }
      // The driver's figures are those of the last statement that changed something, however long ago it was.
      const rowCount = CHANGES.has(facts.verb) ? this.changes : 0
      resolve(counted(facts.verb, rowCount, facts.verb === 'INSERT' && rowCount > 0 ? this.lastID : null))
    })
  })
}

function counted(command: string, rowCount: number, lastInsertId: number | null): Result {
  const context = { changes: rowCount, lastID: lastInsertId ?? 0 }
  return { rows: [], rowCount, lastInsertId, command, forKnex: { response: [], context } }
}

function sendForRows(
  raw: RawConnection,
  { sql, bindings, facts, take, asArrays }: Statement,
): Promise<Result> {
  return new Promise((resolve, reject) => {
    const done = (error: Error | null, found?: Row[] | Row): void => {
      if (error) {
        reject(error)
        return
      }
      const objects = found === undefined ? [] : Array.isArray(found) ? found : [found]
      const rows = asArrays === true ? objects.map((row) => Object.values(row)) : objects
      const rowCount = CHANGES.has(facts.verb) ? rows.length : 0
      resolve({
        rows,
        rowCount,
        lastInsertId: null,
        command: facts.verb,
        forKnex: { response: rows, context: {} },
      })
    }
    if (take === 'first' && facts.isRead) raw.get<Row>(sql, [...bindings], done)
    else raw.all<Row>(sql, [...bindings], done)
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
