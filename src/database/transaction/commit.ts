/** Sends a COMMIT, and finds out what became of it when the answer does not come. */
import type { Backend } from '../query/backend'
import type { Result } from '../driver/statement'
import { messageOf } from '../driver/driver-error'
import type { Lease } from '../pool/lease'
import type { Limits } from '../context/limits'
import { CommitUnknownError, ConnectionError, TransactionError } from '../errors'

export interface Circumstances {
  readonly depth: number
  readonly isReadOnly: boolean
  /** A COMMIT is not cancelled, but past its deadline nobody waits for the answer of a server that is silent. */
  readonly limits: Limits
}

/**
 * Commits, or releases a savepoint.
 *
 * @throws ConnectionError when the connection was lost, and it is certain that nothing was committed
 * @throws CommitUnknownError when it was lost, and that is not certain
 * @throws TransactionError when the server rolled back instead
 */
export async function sendCommit(
  backend: Backend,
  lease: Lease,
  sql: string,
  { depth, isReadOnly, limits }: Circumstances,
): Promise<void> {
  lease.refuseIfEnded()
  const { broken, transactionId, isBeginDeferred = false } = lease.session
  // Lost earlier: what was never sent cannot have happened.
  if (broken !== null && !isBeginDeferred) throw rolledBack(broken)
  let result: Result
  try {
    result = await lease.runUninterrupted(backend.compiler.plain(sql), limits)
  } catch (cause) {
    // Without its connection a savepoint is surely gone, and one that only reads has nothing to be in doubt about; of a
    // COMMIT the answer may have been lost on its way.
    if (!(cause instanceof ConnectionError) || depth > 1 || isReadOnly) throw cause
    const outcome = transactionId === null ? 'unknown' : await backend.outcomeOf(transactionId, limits)
    if (outcome === 'committed') return
    if (outcome === 'rolled back') throw rolledBack(cause)
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

function rolledBack(lost: Error): ConnectionError {
  const cause = lost instanceof ConnectionError ? (lost.cause ?? lost) : lost
  return new ConnectionError(
    'The connection was lost before the transaction was committed, so all of it was rolled back ' +
      `(${messageOf(cause)}). It is safe to run it again.`,
    { cause },
  )
}
