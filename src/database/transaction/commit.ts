/** Sends COMMIT, and finds out its outcome when the connection is lost before the answer. */
import type { Backend } from '../query/backend'
import type { Result } from '../driver/statement'
import { messageOf } from '../driver/driver-error'
import type { Lease } from '../pool/lease'
import type { Limits } from '../context/limits'
import { CommitUnknownError, ConnectionError, TransactionError } from '../errors'

export interface CommitOptions {
  /** 1 for COMMIT; more for a savepoint. */
  readonly depth: number
  readonly isReadOnly: boolean
  /** COMMIT is never cancelled, but past the deadline a silent server's connection is cut. */
  readonly limits: Limits
}

/**
 * Commits a transaction, or releases a savepoint.
 *
 * @throws ConnectionError when the connection was lost and certainly nothing was committed
 * @throws CommitUnknownError when the connection was lost and the outcome is unknown
 * @throws TransactionError when the server rolled back instead
 */
export async function sendCommit(
  backend: Backend,
  lease: Lease,
  sql: string,
  { depth, isReadOnly, limits }: CommitOptions,
): Promise<void> {
  lease.refuseIfEnded()
  const { broken, transactionId, isBeginDeferred = false } = lease.session
  // The connection was lost earlier, so COMMIT was never sent and nothing was committed.
  if (broken !== null && !isBeginDeferred) throw rolledBackError(broken)
  let result: Result
  try {
    result = await lease.runUninterrupted(backend.compiler.plain(sql), limits)
  } catch (cause) {
    // A savepoint is certainly gone with its connection, and a read-only transaction has no outcome to doubt. The answer
    // to a COMMIT may have been lost on its way.
    if (!(cause instanceof ConnectionError) || depth > 1 || isReadOnly) throw cause
    const outcome = transactionId === null ? 'unknown' : await backend.outcomeOf(transactionId, limits)
    if (outcome === 'committed') return
    if (outcome === 'rolled back') throw rolledBackError(cause)
    throw new CommitUnknownError(
      'The connection was lost while the server was committing, and it could not be asked what became of it. ' +
        'Look for what the transaction wrote before doing it again.',
      { cause },
    )
  }
  // https://www.postgresql.org/docs/current/sql-commit.html: an aborted transaction is rolled back by COMMIT, and
  // the only sign of it is the command tag.
  if (result.command === 'ROLLBACK') {
    throw new TransactionError(
      'The server rolled the transaction back instead of committing it, because a statement in it had failed and ' +
        'the error was caught. Let the error leave the transaction, or put what may fail into one of its own inside.',
    )
  }
}

function rolledBackError(lost: Error): ConnectionError {
  const cause = lost instanceof ConnectionError ? (lost.cause ?? lost) : lost
  return new ConnectionError(
    'The connection was lost before the transaction was committed, so all of it was rolled back ' +
      `(${messageOf(cause)}). It is safe to run it again.`,
    { cause },
  )
}
