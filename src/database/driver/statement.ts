/** A statement as a driver gets it, and what it answers. */
import type { ParsedSql } from './parsed-sql'

export type Row = Record<string, unknown>

export type StatementFacts = Pick<
  ParsedSql,
  'verb' | 'laterVerbs' | 'isMultiStatement' | 'isRead' | 'hasReturning' | 'isRepeatable' | 'changesSession'
>

/** What decides how a connection is lent for a statement. */
export type Access = Pick<ParsedSql, 'isRead' | 'isRepeatable'>

export const WRITE: Access = { isRead: false, isRepeatable: false }

/** A piece of a result: the pieces before it are gone. */
export const STREAM: Access = { isRead: true, isRepeatable: false }

/** Names as they are written in SQL. */
export interface InsertTarget {
  readonly table: string
  readonly columns: readonly string[]
}

/** One statement, ready for the driver. */
export interface Statement {
  readonly sql: string
  readonly bindings: readonly unknown[]
  /** What errors and events show instead of a text that repeats itself for hundreds of rows. */
  readonly shownSql?: string
  /** A part of what its caller wants, who asks for no id. */
  readonly isPartOfBulk?: boolean
  readonly facts: StatementFacts
  /** Where its bindings go, row by row, if it inserts them and does nothing else. A database may know a faster way. */
  readonly insertsInto?: InsertTarget | undefined
  /** What the caller is after: it decides how the driver is asked. */
  readonly take: 'all' | 'first' | 'count'
  /** Rows as arrays keep columns of the same name apart. */
  readonly asArrays?: boolean
  /** Knex's `.options({…})`, handed to the driver. */
  readonly driverOptions?: object
  /** Makes rows what the builder's user is to see of them: Knex's `postProcessResponse`, where that is set. */
  readonly process?: (response: unknown) => unknown
  /** Knex's `.timeout(ms)`: how long it may run, on top of all other limits. */
  readonly timeoutMillis?: number
}

export function shownSql({ sql, shownSql: shown }: Pick<Statement, 'sql' | 'shownSql'>): string {
  return shown ?? sql
}

export interface Result {
  /** Objects, or arrays when `asArrays` was asked for. */
  readonly rows: readonly unknown[]
  /** Rows that the statement inserted, updated or deleted. */
  readonly rowCount: number
  /** The rowid that an INSERT gave, on databases that have such a thing. */
  readonly lastInsertId: number | null
  /** What the database says it did: `COMMIT` may come back as `ROLLBACK`. */
  readonly command: string
  /** The driver's own answer, under the names by which Knex's dialects look for it. */
  readonly forKnex: { readonly response: unknown; readonly context?: unknown }
}

/** An open result that is read piece by piece. */
export interface Cursor {
  /** Known after a piece that was shorter than it might have been. */
  readonly isAtEnd: boolean
  /** The next rows: at most `count`, or as many as are worth a journey. */
  read(count: number | null): Promise<readonly Row[]>
  close(): Promise<void>
}
