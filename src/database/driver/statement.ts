/** A statement as a driver gets it, its result, and a cursor. */
import type { ParsedSql } from './parsed-sql'

export type Row = Record<string, unknown>

export type StatementFacts = Pick<
  ParsedSql,
  'verb' | 'laterVerbs' | 'isMultiStatement' | 'isRead' | 'hasReturning' | 'isRepeatable' | 'changesSession'
>

/** What decides how a connection is lent for a statement. */
export type Access = Pick<ParsedSql, 'isRead' | 'isRepeatable'>

export const WRITE: Access = { isRead: false, isRepeatable: false }

/** A batch of a stream: it cannot be read again, since the batches before it are gone. */
export const STREAM: Access = { isRead: true, isRepeatable: false }

/** The table and the columns of an INSERT, as written in its SQL. */
export interface InsertTarget {
  readonly table: string
  readonly columns: readonly string[]
}

/** One statement, ready for the driver. */
export interface Statement {
  readonly sql: string
  readonly bindings: readonly unknown[]
  /** Shown in errors and events instead of `sql`, which may repeat itself for hundreds of rows. */
  readonly shownSql?: string
  /** True for one of many statements of executeMany(), which returns no id. */
  readonly isPartOfBulk?: boolean
  readonly facts: StatementFacts
  /** Where its bindings go, row by row, if it is a plain INSERT: a database may have a faster way. */
  readonly insertsInto?: InsertTarget | undefined
  /** What the caller wants of the result: all rows, the first row, or the row count. */
  readonly take: 'all' | 'first' | 'count'
  /** Rows as arrays keep columns of the same name apart. */
  readonly asArrays?: boolean
  /** Knex's `.options({…})`, handed to the driver. */
  readonly driverOptions?: object
  /** Knex's `postProcessResponse`, where that is set. */
  readonly process?: (response: unknown) => unknown
  /** Knex's `.timeout(ms)`, a limit besides all others. */
  readonly timeoutMillis?: number
}

/** Returns the SQL for errors and events. */
export function shownSql({ sql, shownSql: shown }: Pick<Statement, 'sql' | 'shownSql'>): string {
  return shown ?? sql
}

export interface Result {
  /** Objects, or arrays when `asArrays` was asked for. */
  readonly rows: readonly unknown[]
  /** Rows that the statement inserted, updated or deleted. */
  readonly rowCount: number
  /** The rowid of an inserted row, on databases that have rowids. */
  readonly lastInsertId: number | null
  /** The command that the database reports: `COMMIT` may come back as `ROLLBACK`. */
  readonly command: string
  /** The driver's own answer, under the names by which Knex's dialects look for it. */
  readonly forKnex: { readonly response: unknown; readonly context?: unknown }
}

/** An open result that is read in batches. */
export interface Cursor {
  /** True once it is known that no rows follow: after a batch that was shorter than it could have been. */
  readonly isAtEnd: boolean
  /** Returns the next rows: at most `count`; if null, as many as are worth one round trip. */
  read(count: number | null): Promise<readonly Row[]>
  close(): Promise<void>
}
