/** The state of SQLite's transactions: no driver reports whether one is open, and SQLite may end one by itself. */
import type { Result, Statement } from '../driver/statement'
import { firstStatement } from '../sql/rewrite'
import { QueryError } from '../errors'
import { ownStatement, type SqliteConnection } from './driver'
import { SQLITE_LEXICON } from './lexicon'

const ENDS = new Set(['COMMIT', 'END', 'ROLLBACK'])

/** Returns whether a statement ends the whole transaction. ROLLBACK TO does not. */
export function endsTransaction({ sql, facts: { verb } }: Statement): boolean {
  if (!ENDS.has(verb)) return false
  // The quick test comes first, because removing comments takes long.
  const isTo = /\bTO\b/i
  return !isTo.test(sql) || !isTo.test(firstStatement(sql, SQLITE_LEXICON, false))
}

/** Returns whether a transaction is open, by trying BEGIN, which fails if one is: there is no call for it. */
export async function isInTransaction(connection: SqliteConnection): Promise<boolean> {
  try {
    await connection.run(ownStatement('BEGIN DEFERRED'))
  } catch {
    return true
  }
  await connection.run(ownStatement('ROLLBACK'))
  return false
}

/** @throws QueryError for a setting that SQLite silently ignores in a transaction */
export function refuseIgnoredPragma({ sql }: Statement): void {
  if (/\bforeign_keys\s*[=(]/i.test(sql)) throw rebuildError(sql)
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

/**
 * Answers a statement in a transaction that SQLite has rolled back by itself, as PostgreSQL does in an aborted one: a
 * statement that ends it gets the result of a ROLLBACK, any other one fails.
 */
export function answerInLostTransaction({ sql, facts: { verb } }: Statement, endsAll: boolean): Result {
  if (!endsAll && verb !== 'ROLLBACK' && verb !== 'RELEASE') {
    throw new QueryError(
      'The transaction was rolled back by SQLite because of an earlier error, so nothing runs in it any more.',
      sql,
    )
  }
  const forKnex = { response: [], context: {} }
  return { rows: [], rowCount: 0, lastInsertId: null, command: 'ROLLBACK', forKnex }
}

/** Returns whether a statement begins a transaction that only reads. */
export function beginsDeferred({ sql }: Statement): boolean {
  return /^BEGIN\s+DEFERRED/i.test(sql)
}

/** Makes a plain BEGIN, such as Knex's own, a BEGIN IMMEDIATE: it is assumed to write. */
export function toImmediate(statement: Statement): Statement {
  if (statement.facts.verb !== 'BEGIN' || statement.sql === 'BEGIN IMMEDIATE') return statement
  const isBare = /^\s*BEGIN(\s+TRANSACTION)?\s*$/i.test(firstStatement(statement.sql, SQLITE_LEXICON, false))
  return isBare ? { ...statement, sql: 'BEGIN IMMEDIATE' } : statement
}
