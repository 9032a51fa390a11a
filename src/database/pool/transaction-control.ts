/** Statements that are refused: those that open or end a transaction where millpond has one open, and those that come late. */
import { type DatabaseError, QueryCanceledError, TransactionClosedError, TransactionError } from '../errors'
import type { Statement } from '../driver/statement'

const TRANSACTION_CONTROL = new Set([
  'BEGIN',
  'START',
  'COMMIT',
  'END',
  'ROLLBACK',
  'ABORT',
  'PREPARE TRANSACTION',
  'SAVEPOINT',
  'RELEASE',
])

/** @throws TransactionError for such a statement */
export function refuseTransactionControl({ sql, facts }: Statement): void {
  if (!TRANSACTION_CONTROL.has(facts.verb) && !facts.laterVerbs.some((verb) => TRANSACTION_CONTROL.has(verb)))
    return
  throw new TransactionError(
    `'${sql.trim()}' cannot be run inside a transaction of millpond, which would not know of it. ` +
      'Use commit() and rollback() of the transaction, and transaction() for a savepoint.',
  )
}

/** Makes the error for a statement that is ended before it is done. */
export type StatementErrorFactory = (sql: string, cause?: unknown) => DatabaseError

/** For one that is cancelled because of something that has happened, and not by a signal of its caller. */
export function cancelledBecause(event: string): StatementErrorFactory {
  return (sql, cause) => new QueryCanceledError(`The query was cancelled: ${event}.`, sql, { cause })
}

/** For a statement whose transaction, or connection, is somebody else's by now. */
export function leaseEndedError(): TransactionClosedError {
  return new TransactionClosedError(
    'The statement did not run: its transaction has ended, or its connection has gone back to the pool. Something ' +
      'still runs after the work that it belongs to; await it there, or wrap it in database.detached().',
  )
}
