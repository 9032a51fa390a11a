/** Refuses statements that begin or end a transaction inside one of millpond's; makes the errors of stopped ones. */
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

/** @throws TransactionError for a statement that begins or ends a transaction */
export function refuseTransactionControl({ sql, facts }: Statement): void {
  if (!TRANSACTION_CONTROL.has(facts.verb) && !facts.laterVerbs.some((verb) => TRANSACTION_CONTROL.has(verb)))
    return
  throw new TransactionError(
    `'${sql.trim()}' cannot be run inside a transaction of millpond, which would not know of it. ` +
      'Use commit() and rollback() of the transaction, and transaction() for a savepoint.',
  )
}

/** Makes the error for a statement that is refused, or stopped before it has ended. */
export type StatementErrorFactory = (sql: string, cause?: unknown) => DatabaseError

/** Makes errors for a statement that an event cancels, such as a rollback, and not its caller's signal. */
export function cancelledBecause(event: string): StatementErrorFactory {
  return (sql, cause) => new QueryCanceledError(`The query was cancelled: ${event}.`, sql, { cause })
}

/** Returns the error for a statement that comes after its transaction or its lease has ended. */
export function leaseEndedError(): TransactionClosedError {
  return new TransactionClosedError(
    'The statement did not run: its transaction has ended, or its connection has gone back to the pool. Something ' +
      'still runs after the work that it belongs to; await it there, or wrap it in database.detached().',
  )
}
