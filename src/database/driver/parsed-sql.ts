/** The result of parsing SQL text, and the rules of a database that the parser needs. */

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
