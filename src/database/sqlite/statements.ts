/** What the text of a statement says on SQLite: which placeholders and quotes it has, whether it has rows, what it does to a transaction. */
import type { Lexicon, Statement } from '../driver/statement'
import { QueryError } from '../errors'
import { parseSql } from '../sql/parser'
import { blankNested, firstStatement } from '../sql/rewrite'
import { TextCache } from '../sql/text-cache'

/** Pragmas that need no reset: they belong to the file, the session resets them, or their value is only an argument. */
const NEEDS_NO_RESET = new RegExp(
  '\\b(?:query_only|foreign_keys|user_version|application_id|journal_mode|auto_vacuum|encoding|page_size|schema_version|wal_checkpoint|' +
    'incremental_vacuum|optimize|table_\\w+|index_\\w+|foreign_key_\\w+|integrity_check|quick_check)\\b',
  'i',
)

/** The schema of temporary objects, which belong to the connection. */
const TEMP_SCHEMA = /(?:\btemp|"temp"|\[temp\]|`temp`|'temp')\s*\./i

/** https://www.sqlite.org/lang_expr.html#varparam */
export const SQLITE_LEXICON: Lexicon = {
  dollarQuotes: false,
  bracketNames: true,
  driverPlaceholder: /\?\d*|[$@:][\p{L}\p{N}_]+/uy,
  changesSession: (words, sql) =>
    /^(?:ATTACH|DETACH|CREATE TEMP)/.test(words) ||
    (words.startsWith('CREATE ') && TEMP_SCHEMA.test(sql)) ||
    (words.startsWith('PRAGMA') && /[=(]/.test(sql) && !NEEDS_NO_RESET.test(words)),
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

const QUERIES = new Set(['SELECT', 'VALUES', 'EXPLAIN', 'PRAGMA'])

/** Returns whether a statement is a query, judged by its verb: other words may be names of columns. */
export function isQuery({ facts: { verb } }: Statement): boolean {
  return QUERIES.has(verb)
}

/** Returns where the second part of a compound SELECT begins; undefined for a simple one. */
export function findCompound(sql: string): number | undefined {
  return /\b(?:union|except|intersect)\b/i.exec(blankNested(sql, SQLITE_LEXICON))?.index
}

/**
 * Appends LIMIT 1. Returns null where the text may have a limit already, since a second one around it lets SQLite choose
 * other rows, and for VALUES, which takes none.
 */
export function withLimit({ sql, facts }: Statement): string | null {
  return facts.verb === 'SELECT' && !/;|\/\*|\b(?:limit|values)\b/i.test(sql) ? `${sql}\nLIMIT 1` : null
}

/** Returns whether a statement ends the whole transaction. ROLLBACK TO does not. */
export function endsTransaction({ sql, facts: { verb } }: Statement): boolean {
  if (verb !== 'COMMIT' && verb !== 'END' && verb !== 'ROLLBACK') return false
  // The quick test comes first, because removing comments takes long.
  const isTo = /\bTO\b/i
  return !isTo.test(sql) || !isTo.test(firstStatement(sql, SQLITE_LEXICON, false))
}

/** Returns whether a statement begins a transaction that only reads. */
export function beginsDeferred({ sql, facts: { verb } }: Statement): boolean {
  return verb === 'BEGIN' && /^BEGIN\s+DEFERRED/i.test(sql)
}

/** Makes a plain BEGIN, such as Knex's own, a BEGIN IMMEDIATE: it is assumed to write. */
export function toImmediate(statement: Statement): Statement {
  if (statement.facts.verb !== 'BEGIN' || statement.sql === 'BEGIN IMMEDIATE') return statement
  const isBare = /^\s*BEGIN(\s+TRANSACTION)?\s*$/i.test(firstStatement(statement.sql, SQLITE_LEXICON, false))
  return isBare ? { ...statement, sql: 'BEGIN IMMEDIATE' } : statement
}

/** Returns the error for a rebuild of a table in a transaction: https://www.sqlite.org/lang_altertable.html, section 7 */
export function rebuildError(sql: string): QueryError {
  return new QueryError(
    'A table cannot be made anew in this transaction: the rows that refer to it would be deleted, and SQLite ignores PRAGMA ' +
      'foreign_keys in a transaction. database.knex.transaction(work, { enforceForeignCheck: false }) turns them off before it ' +
      'begins, and looks for violations before it commits.',
    sql,
  )
}
