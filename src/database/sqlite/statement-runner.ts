/** Runs statements by the calls of a driver, and makes results of its answers. */
import type { Result, Statement } from '../backend/dialect'
import { messageOf } from '../backend/driver-error'
import { outermost } from '../backend/sql-pieces'
import { TextCache } from '../backend/text-cache'
import { Written } from '../backend/written'
import type { Ask } from './busy-retry'
import {
  areDistinct,
  convertArrays,
  convertObjects,
  hasProto,
  toArrays,
  toObjects,
  unclear,
} from './column-types'
import type { Columns, SqliteConnection } from './driver'
import { SQLITE_LEXICON } from './lexicon'
import type { SchemaWatch } from './schema-watch'

/** Runs a call of the driver that a cancel may interrupt, again while the file is locked. */
export type Attempt = <T>(statement: Statement, call: () => Promise<T>) => Promise<T>

const CHANGES = new Set(['INSERT', 'REPLACE', 'UPDATE', 'DELETE'])
const INSERTS = new Set(['INSERT', 'REPLACE'])

export class StatementRunner {
  readonly #connection: SqliteConnection
  readonly #schema: SchemaWatch
  readonly #attempt: Attempt
  readonly #ask: Ask

  constructor(connection: SqliteConnection, schema: SchemaWatch, attempt: Attempt, ask: Ask) {
    this.#connection = connection
    this.#schema = schema
    this.#attempt = attempt
    this.#ask = ask
  }

  run(statement: Statement, isInTransaction: boolean): Promise<Result> {
    const { take, facts } = statement
    return take === 'count' && !facts.hasReturning
      ? this.#change(statement, isInTransaction)
      : this.#query(statement, isInTransaction)
  }

  async #change(statement: Statement, isInTransaction: boolean): Promise<Result> {
    const { sql, facts, isOneOfMany } = statement
    // Asked before it runs: an error would not be told from one of a statement that has written.
    const mayGiveId = INSERTS.has(facts.verb) && isOneOfMany !== true
    const found = mayGiveId && this.#schema.givesId(sql, isInTransaction)
    const givesId = found instanceof Promise ? await found : found
    const { rowCount: changed, lastId } = await this.#attempt(statement, () =>
      this.#connection.run(statement),
    )
    // SQLite's figures are those of the last statement that changed something, however long ago it was.
    const rowCount = CHANGES.has(facts.verb) ? changed : 0
    const id = givesId && rowCount > 0 ? lastId : null
    return resultOf(facts.verb, [], rowCount, id, { changes: rowCount, lastID: lastId ?? 0 })
  }

  async #query(statement: Statement, isInTransaction: boolean): Promise<Result> {
    if (this.#schema.isDue) await this.#schema.check(isInTransaction)
    const { bindings, facts, take, asArrays } = statement
    const limited = take === 'first' && facts.isRead ? withLimit(statement) : null
    if (limited === null) return this.#fetch(statement)
    try {
      return await this.#fetch(new Written(limited, bindings, facts, { take: 'all', asArrays }))
    } catch (error) {
      // What is incomplete goes on into our LIMIT; the error is to be that of what the caller wrote.
      if (!messageOf(error).includes('near "LIMIT"')) throw error
      return this.#fetch(statement)
    }
  }

  async #fetch(statement: Statement): Promise<Result> {
    const isArrays = statement.asArrays === true
    // Asked before it runs: an error about the columns of a statement that has written would come too late.
    const found = this.columns(statement, isArrays)
    const columns = found instanceof Promise ? await found : found
    if (columns !== null && (isArrays ? !areDistinct(columns) : hasProto(columns))) {
      const { arrays } = this.#connection
      if (arrays === null) throw unclear(statement)
      const rows = convertArrays(await this.#attempt(statement, () => arrays(statement)), columns)
      return resultOfRows(statement, isArrays ? rows : toObjects(rows, columns))
    }
    const how = statement.take === 'first' && statement.facts.isRead ? 'first' : 'all'
    const rows = await this.#attempt(statement, () => this.#connection[how](statement))
    return resultOfRows(
      statement,
      isArrays ? convertArrays(toArrays(rows, columns), columns) : convertObjects(rows, columns, statement),
    )
  }

  columns(statement: Statement, byPosition: boolean): Columns | Promise<Columns> {
    const found = this.#connection.columns(statement, byPosition)
    if (!(found instanceof Promise)) return found
    return found.catch(() => this.#ask(async () => this.#connection.columns(statement, byPosition)))
  }
}

function resultOfRows({ facts: { verb } }: Statement, rows: readonly unknown[]): Result {
  return resultOf(verb, rows, CHANGES.has(verb) ? rows.length : 0, null, {})
}

function resultOf(
  command: string,
  rows: readonly unknown[],
  rowCount: number,
  lastInsertId: number | null,
  context: object,
): Result {
  return { rows, rowCount, lastInsertId, command, forKnex: { response: rows, context } }
}

const limits = new TextCache<string | null>(1000)

/** The same query, ending with its first row; null where it does not end by a line behind it. VALUES take no LIMIT. */
function withLimit({ sql, facts }: Statement): string | null {
  return limits.for(sql, () => {
    const isPlain = facts.verb === 'SELECT' && !/;|\/\*/.test(sql)
    return isPlain && !/\b(?:limit|values)\b/i.test(outermost(sql, SQLITE_LEXICON)) ? `${sql}\nLIMIT 1` : null
  })
}
