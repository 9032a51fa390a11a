/** A statement as it was parsed and as a driver gets it, its result, and its cursors. */

/** How a database writes quotes, names and comments, which may hide a colon or a keyword. */
export interface Lexicon {
  /** PostgreSQL: `$tag$…$tag$`, `E'…\'…'`, comments that nest. */
  readonly dollarQuotes: boolean
  /** SQLite: `[name]` and `` `name` ``. */
  readonly bracketNames: boolean
  /** The driver's own placeholders, as a sticky pattern: refused, since they would bind a wrong value, or none. */
  readonly driverPlaceholder: RegExp
  /** True for a statement whose settings stay with the connection. `words`: its words in capitals; `sql`: its text. */
  changesSession(this: void, words: string, sql: string): boolean
}

/** A stretch of SQL: plain text, or a `:name` to be replaced. */
export type Segment =
  { readonly text: string } | { readonly name: string; readonly isList: boolean; readonly isNegated: boolean }

export interface ParsedSql {
  readonly segments: readonly Segment[]
  /** Names of placeholders, in the order of their first use. */
  readonly names: readonly string[]
  /** The first placeholder of the driver's own style outside of literals, such as `?1` or `$1`. */
  readonly foundPlaceholder: string | null
  /** True when a second statement follows. Statements in the body of a trigger or function do not count. */
  readonly isMultiStatement: boolean
  /** The keyword that says what the statement does, in capitals: SELECT, INSERT, BEGIN, … */
  readonly verb: string
  /** The verbs of the statements after the first. */
  readonly laterVerbs: readonly string[]
  /** True when it is certain that it changes nothing. */
  readonly isRead: boolean
  readonly hasReturning: boolean
  /** True when running it twice does no harm: a read that calls only known functions. */
  readonly isRepeatable: boolean
  /** True when it sets something on the connection that outlasts its transaction. */
  readonly changesSession: boolean
}

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

/** What the caller wants of a result, and in which form. */
export interface Take extends Pick<Statement, 'take'> {
  readonly asArrays?: boolean | undefined
}

/** A class instead of a literal, since it lives across an await: see docs/design.md. */
export class BoundStatement implements Statement {
  readonly sql: string
  readonly bindings: readonly unknown[]
  readonly facts: StatementFacts
  readonly take: Statement['take']
  readonly asArrays: boolean

  constructor(sql: string, bindings: readonly unknown[], facts: StatementFacts, { take, asArrays }: Take) {
    this.sql = sql
    this.bindings = bindings
    this.facts = facts
    this.take = take
    this.asArrays = asArrays === true
  }
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
  /** Called when its stream has ended, even if it was not closed. `error`: undefined if all rows were read, or the caller left. */
  streamEnded?(error: unknown): void
}

/** A cursor over rows that are in memory already, for statements for which a database has no cursors. */
export class BufferedCursor implements Cursor {
  readonly #rows: Row[]

  constructor(rows: readonly unknown[]) {
    this.#rows = [...rows] as Row[]
  }

  get isAtEnd(): boolean {
    return this.#rows.length === 0
  }

  read(count: number | null): Promise<readonly Row[]> {
    return Promise.resolve(this.#rows.splice(0, count ?? this.#rows.length))
  }

  async close(): Promise<void> {}
}
