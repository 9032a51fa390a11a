/** What is different in SQLite's transactions: whether one is open it does not tell, and it ends them by itself. */
import type { Result, Statement } from '../driver/statement'
import { firstStatement } from '../sql/rewrite'
import { QueryError } from '../errors'
import { own, type SqliteConnection } from './driver'
import { SQLITE_LEXICON } from './lexicon'

const ENDS = new Set(['COMMIT', 'END', 'ROLLBACK'])

/** Whether a statement ends the whole transaction, as ROLLBACK TO does not. */
export function endsTransaction({ sql, facts: { verb } }: Statement): boolean {
  if (!ENDS.has(verb)) return false
  // To take comments out takes long, and hardly any has one.
  const isTo = /\bTO\b/i
  return !isTo.test(sql) || !isTo.test(firstStatement(sql, SQLITE_LEXICON, false))
}

/** There is no call that says whether a transaction is open, but BEGIN fails if one is. */
export async function isInTransaction(connection: SqliteConnection): Promise<boolean> {
  try {
    await connection.run(own('BEGIN DEFERRED'))
  } catch {
    return true
  }
  await connection.run(own('ROLLBACK'))
  return false
}

/** @throws QueryError for a setting that SQLite ignores in a transaction, without a word */
export function refuseIgnored({ sql }: Statement): void {
  if (/\bforeign_keys\s*[=(]/i.test(sql)) throw refuseRebuild(sql)
}

/** What comes of it otherwise: https://www.sqlite.org/lang_altertable.html, section 7 */
export function refuseRebuild(sql: string): QueryError {
  return new QueryError(
    'A table cannot be made anew in this transaction: the rows that refer to it would be deleted, and SQLite ignores PRAGMA ' +
      'foreign_keys in a transaction. database.knex.transaction(work, { enforceForeignCheck: false }) turns them off before it ' +
      'begins, and looks for violations before it commits.',
    sql,
  )
}

/**
 * In a transaction that SQLite has rolled back by itself, as PostgreSQL does in an aborted one: nothing runs, and
 * whatever ends it is answered by ROLLBACK.
 */
export function answerLost({ sql, facts: { verb } }: Statement, endsAll: boolean): Result {
  if (!endsAll && verb !== 'ROLLBACK' && verb !== 'RELEASE') {
    throw new QueryError(
      'The transaction was rolled back by SQLite because of an earlier error, so nothing runs in it any more.',
      sql,
    )
  }
  const forKnex = { response: [], context: {} }
  return { rows: [], rowCount: 0, lastInsertId: null, command: 'ROLLBACK', forKnex }
}

/** Begins a transaction that may only read. */
export function isDeferred({ sql }: Statement): boolean {
  return /^BEGIN\s+DEFERRED/i.test(sql)
}

/** A bare BEGIN, such as Knex's own, is there to write, or it would not be there. */
export function immediate(statement: Statement): Statement {
  if (statement.facts.verb !== 'BEGIN' || statement.sql === 'BEGIN IMMEDIATE') return statement
  const isBare = /^\s*BEGIN(\s+TRANSACTION)?\s*$/i.test(firstStatement(statement.sql, SQLITE_LEXICON, false))
  return isBare ? { ...statement, sql: 'BEGIN IMMEDIATE' } : statement
}
