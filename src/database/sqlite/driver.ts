/** The contract of a driver: the few calls that all else in this folder stands on. */
import type { Row, Statement } from '../driver/statement'
import { parseSql } from '../sql/parser'
import { TextCache } from '../sql/text-cache'
import { SQLITE_LEXICON } from './lexicon'

export interface Column {
  /** Its name. Two where the driver cannot tell which of them it is. */
  readonly names: readonly string[]
  /** Its type in CREATE TABLE, empty for an expression. */
  readonly declared: string
}

export interface Changes {
  readonly rowCount: number
  /** sqlite3_last_insert_rowid(), which may be that of an earlier INSERT; null for one that a number cannot hold. */
  readonly lastId: number | null
}

/** A result that is read in pieces, while nothing else runs on its connection. */
export interface Steps {
  readonly isAtEnd: boolean
  /** Resolves to `count` rows, or to fewer at the end; null: to as many as are worth a journey. */
  read(count: number | null): Promise<Row[]>
  close(): Promise<void>
}

/**
 * A session sees to it that one call at a time runs. Errors begin with the name of SQLite's result code: `SQLITE_BUSY: …`. An
 * integer that a number cannot hold is bound exactly, and comes back as text or as an error.
 */
export interface SqliteConnection {
  /** The driver's own object, for `connection.raw`. */
  readonly raw: object
  /** Runs a statement that gives no rows. */
  run(statement: Statement): Promise<Changes>
  all(statement: Statement): Promise<Row[]>
  /** Resolves to the first row or none, without computing others. */
  first(statement: Statement): Promise<Row[]>
  /** `isHeld`: all its rows are to be in memory, so that they may be read at once. */
  step(statement: Statement, isHeld: boolean): Promise<Steps>
  /** The columns in order; null where nobody can tell, as the driver sqlite3 cannot for PRAGMA. */
  columns(statement: Statement): Promise<readonly Column[] | null>
  /** Rows as arrays, for columns that an object cannot hold side by side; null where the driver cannot. */
  readonly arrays: ((statement: Statement) => Promise<unknown[][]>) | null
  /** Called when the schema has changed: what is prepared is out of date. */
  forgetStatements(): void
  /** Stops the statement that runs, if it has taken its first step. */
  interrupt(): void
  close(): Promise<void>
}

export interface SqliteDriver {
  readonly name: string
  /** `flags`: https://www.sqlite.org/c3ref/c_open_autoproxy.html */
  open(file: string, flags: number): Promise<SqliteConnection>
}

export const OPEN = { READONLY: 1, READWRITE: 2, CREATE: 4, URI: 64 } as const

/** Whether it gives rows, by how it begins: a column may be called by a word that writes. */
export function isQuery({ facts: { verb } }: Statement): boolean {
  return /^(?:SELECT|VALUES|EXPLAIN|PRAGMA)$/.test(verb)
}

const texts = new TextCache<Statement>(100)

/** A statement of this folder's own, without values. */
export function own(sql: string): Statement {
  return texts.getOrMake(sql, () => ({
    sql,
    bindings: [],
    facts: parseSql(sql, SQLITE_LEXICON),
    take: 'all',
  }))
}
