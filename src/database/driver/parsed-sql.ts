/** What is known of a text of SQL, and how a database writes what may hide a colon or a keyword. */

/** How a database writes what may hide a colon or a keyword. */
export interface Lexicon {
  /** PostgreSQL: `$tag$…$tag$`, `E'…\'…'`, comments that nest. */
  readonly dollarQuotes: boolean
  /** SQLite: `[name]` and `` `name` ``. */
  readonly bracketNames: boolean
  /** The driver's own placeholders, as a sticky pattern: refused, because they would bind something else, or nothing. */
  readonly driverPlaceholder: RegExp
  /** Whether a statement sets something that stays with its connection, by its words in capitals and as it is. */
  changesSession(this: void, words: string, sql: string): boolean
}

/** A stretch of SQL: plain text, or a `:name` to be replaced. */
export type Segment =
  { readonly text: string } | { readonly name: string; readonly isList: boolean; readonly isNegated: boolean }

export interface ParsedSql {
  readonly segments: readonly Segment[]
  /** In the order in which they first occur. */
  readonly names: readonly string[]
  /** A placeholder of another style that was found outside of literals, such as `?1` or `$1`. */
  readonly foundPlaceholder: string | null
  /** True when a second statement follows the first. Those in the body of a trigger or function do not count. */
  readonly isMultiStatement: boolean
  /** The keyword that says what the statement does, in capitals: SELECT, INSERT, BEGIN, … */
  readonly verb: string
  /** The same of the statements behind the first. */
  readonly laterVerbs: readonly string[]
  /** True when it surely changes nothing. */
  readonly isRead: boolean
  readonly hasReturning: boolean
  /** True when it can be run again without harm should nobody know whether it has run: a read that calls nothing unknown. */
  readonly isRepeatable: boolean
  /** True when it sets something that outlasts it, and its transaction, on the connection. */
  readonly changesSession: boolean
}
