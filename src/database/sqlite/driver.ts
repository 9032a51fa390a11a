/** The contract of a SQLite driver: the calls that the rest of this folder uses. */
import type { Row, Statement } from '../driver/statement'
import { parseSql } from '../sql/parser'
import { TextCache } from '../sql/text-cache'
import { SQLITE_LEXICON } from './lexicon'

export interface Column {
  /** The name; two names if the driver cannot tell which of them is right. */
  readonly names: readonly string[]
  /** The type in CREATE TABLE; empty for an expression. */
  readonly declared: string
}

export interface Changes {
  readonly rowCount: number
  /** sqlite3_last_insert_rowid(), which may be that of an earlier INSERT; null if a number cannot hold it. */
  readonly lastId: number | null
}

/** A result that is read batch by batch, while nothing else runs on its connection. */
export interface Steps {
  readonly isAtEnd: boolean
  /** Resolves to `count` rows, or to fewer at the end; for null the driver chooses how many. */
  read(count: number | null): Promise<Row[]>
  close(): Promise<void>
}

/**
 * An open connection of a driver, whose session makes one call at a time. Errors begin with the name of SQLite's result
 * code: `SQLITE_BUSY: …`. An integer that a number cannot hold is bound exactly, and is read as text or fails.
 */
export interface SqliteConnection {
  /** The driver's own object, for `connection.raw`. */
  readonly raw: object
  /** Runs a statement that returns no rows. */
  run(statement: Statement): Promise<Changes>
  all(statement: Statement): Promise<Row[]>
  /** Resolves to the first row, or to none, without computing the others. */
  first(statement: Statement): Promise<Row[]>
  /** Starts a statement and reads it by steps. `keepsAllRows`: the caller keeps all rows in memory, so they may be read at once. */
  step(statement: Statement, keepsAllRows: boolean): Promise<Steps>
  /** Resolves to the columns in order; to null if the driver does not know them, as sqlite3 for PRAGMA. */
  columns(statement: Statement): Promise<readonly Column[] | null>
  /** Returns rows as arrays, which can hold columns of the same name; null if the driver cannot do that. */
  readonly arrays: ((statement: Statement) => Promise<unknown[][]>) | null
  /** Called when the schema has changed, which makes prepared statements outdated. */
  finalizeStatements(): void
  /** Stops the statement that runs; without effect before its first step. */
  interrupt(): void
  close(): Promise<void>
}

export interface SqliteDriver {
  readonly name: string
  /** `flags`: https://www.sqlite.org/c3ref/c_open_autoproxy.html */
  open(file: string, flags: number): Promise<SqliteConnection>
}

export const OPEN_FLAGS = { READONLY: 1, READWRITE: 2, CREATE: 4, URI: 64 } as const

/** Returns whether a statement returns rows, judged by its verb: other words may be names of columns. */
export function isQuery({ facts: { verb } }: Statement): boolean {
  return /^(?:SELECT|VALUES|EXPLAIN|PRAGMA)$/.test(verb)
}

const ownStatements = new TextCache<Statement>(100)

/** Makes a statement without values that this folder sends by itself. */
export function ownStatement(sql: string): Statement {
  return ownStatements.getOrMake(sql, () => ({
    sql,
    bindings: [],
    facts: parseSql(sql, SQLITE_LEXICON),
    take: 'all',
  }))
}
