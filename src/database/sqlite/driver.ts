/** The contract of a SQLite driver: the calls that the rest of this folder uses. */
import type { Cursor, Row, Statement } from '../driver/statement'

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

/**
 * An open connection of a driver, whose session makes one call at a time. Errors begin with the name of SQLite's result
 * code: `SQLITE_BUSY: …`. An integer that a number cannot hold is bound exactly.
 */
export interface SqliteConnection {
  /** The driver's own object, for `connection.raw`. */
  readonly raw: object
  /** True if the driver reads integers beyond 2^53 as rounded numbers; else it reads them as BigInts. */
  readonly roundsIntegers: boolean
  /** Runs a statement that returns no rows. */
  run(statement: Statement): Promise<Changes>
  all(statement: Statement): Promise<Row[]>
  /** Resolves to the first row, or to none, without computing the others. */
  first(statement: Statement): Promise<Row[]>
  /** Starts a statement and reads it by steps. `keepsAllRows`: the caller keeps all rows in memory, so they may be read at once. */
  openCursor(statement: Statement, keepsAllRows: boolean): Promise<Cursor>
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
  open(this: void, file: string, flags: number): Promise<SqliteConnection>
}

export const OPEN_FLAGS = { READONLY: 1, READWRITE: 2, CREATE: 4, URI: 64 } as const
