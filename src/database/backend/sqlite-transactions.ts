/** What is different in SQLite's transactions: whether one is open it does not tell, and it ends them by itself. */
import { QueryError } from '../errors'
import type { Result, Statement } from './dialect'
import { all, exec, type RawConnection } from './sqlite-driver'
import { SQLITE_LEXICON } from './sqlite-lexicon'
import { trimmed } from './sql-pieces'

const ENDS = new Set(['COMMIT', 'END', 'ROLLBACK'])

/** Lets work write to the temporary database, which a transaction that is read-only forbids as well. */
export type Writably = <T>(work: () => Promise<T>) => Promise<T>

/** Does so on a connection that is read-only; if it cannot be made so again, `giveUp` is called. */
export async function writably<T>(
  raw: RawConnection,
  work: () => Promise<T>,
  giveUp: () => void,
): Promise<T> {
  await exec(raw, 'PRAGMA query_only = OFF')
  try {
    return await work()
  } finally {
    await exec(raw, 'PRAGMA query_only = ON').catch((error: unknown) => {
      giveUp()
      throw error
    })
  }
}

/** Whether a statement ends the whole transaction, as ROLLBACK TO does not. */
export function endsTransaction({ sql, facts: { verb } }: Statement): boolean {
  if (!ENDS.has(verb)) return false
  // To take comments out takes long, and hardly any has one.
  const isTo = /\bTO\b/i
  return !isTo.test(sql) || !isTo.test(trimmed(sql, SQLITE_LEXICON, false))
}

/** There is no call that says whether a transaction is open, but BEGIN fails if one is. */
export async function isInTransaction(raw: RawConnection): Promise<boolean> {
  try {
    await exec(raw, 'BEGIN DEFERRED')
  } catch {
    return true
  }
  await exec(raw, 'ROLLBACK')
  return false
}

/** Whether the connection refuses to write. */
export async function isQueryOnly(raw: RawConnection): Promise<boolean> {
  const [row] = await all(raw, 'PRAGMA query_only')
  return row?.['query_only'] === 1
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
export function isDeferred({ sql, facts: { verb } }: Statement): boolean {
  return verb === 'BEGIN' && /^BEGIN\s+DEFERRED/i.test(sql)
}

/** A bare BEGIN, such as Knex's own, is there to write, or it would not be there. */
export function immediate(statement: Statement): Statement {
  if (statement.facts.verb !== 'BEGIN' || statement.sql === 'BEGIN IMMEDIATE') return statement
  const isBare = /^\s*BEGIN(\s+TRANSACTION)?\s*$/i.test(trimmed(statement.sql, SQLITE_LEXICON, false))
  return isBare ? { ...statement, sql: 'BEGIN IMMEDIATE' } : statement
}
