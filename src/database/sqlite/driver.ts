/** The contract of a driver: the few calls that all else in this folder stands on. */
import type { Row, Statement } from '../backend/dialect'
import { parseSql } from '../backend/sql-text'
import { TextCache } from '../backend/text-cache'
import { SQLITE_LEXICON } from './lexicon'

export interface Column {
  /** Its name. Two where the driver cannot tell which of them it is. */
  readonly names: readonly string[]
  /** Its type in CREATE TABLE, empty for an expression. */
  readonly declared: string
  /** How its values are given as that type, where they are stored as another one. */
  readonly convert: ((value: unknown) => unknown) | undefined
}
/** Null where nobody can tell, as for PRAGMA. */
export type Columns = readonly Column[] | null

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

/** How much of a result may be held in memory: rows, and roughly the bytes of their texts and blobs. */
export interface Bound {
  readonly rows: number
  readonly bytes: number
}

/**
 * A session sees to it that one call at a time runs. Errors begin with the name of SQLite's result code: `SQLITE_BUSY: …`. An
 * integer that a number cannot hold is bound exactly, and comes back as text or as an error.
 */
export interface SqliteConnection {
  /** The driver's own object, for `connection.raw`. */
  readonly raw: object
  run(statement: Statement): Promise<Changes>
  all(statement: Statement): Promise<Row[]>
  /** Resolves to the first row or none, without computing others. */
  first(statement: Statement): Promise<Row[]>
  /** Resolves to all rows, or to null if they are beyond that bound. */
  upTo(statement: Statement, bound: Bound): Promise<Row[] | null>
  step(statement: Statement): Promise<Steps>
  /** The columns in order. Null also where none has a type to convert to, unless they are needed `byPosition`. */
  columns(statement: Statement, byPosition: boolean): Columns | Promise<Columns>
  /** Rows as arrays, for columns that an object cannot hold side by side; null where the driver cannot. */
  readonly arrays: ((statement: Statement) => Promise<unknown[][]>) | null
  /** Called when the schema has changed: what is known of columns is out of date. */
  forgetSchema(): void
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

/** Roughly the bytes of rows. */
export function sizeOf(rows: readonly Row[]): number {
  let size = 0
  for (const key of Object.keys(rows[0] ?? {})) {
    for (const row of rows) {
      const value = row[key]
      if (typeof value === 'string') size += value.length
      else size += ArrayBuffer.isView(value) ? value.byteLength : 8
    }
  }
  return size
}

const texts = new TextCache<Statement>(100)

/** A statement of this folder's own, without values. */
export function own(sql: string): Statement {
  return texts.for(sql, () => ({ sql, bindings: [], facts: parseSql(sql, SQLITE_LEXICON), take: 'all' }))
}
