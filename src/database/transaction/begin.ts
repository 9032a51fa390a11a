/** Sends a BEGIN or SAVEPOINT. */
import type { TransactionStatements } from '../driver/dialect'
import type { TransactionNode } from './transaction-node'
import { attachCleanup } from '../errors'
import type { Limits } from '../context/limits'

export interface BeginOptions {
  /** True for BEGIN, false for SAVEPOINT. */
  readonly isOutermost: boolean
  readonly limits: Limits
  /** Throws when the parent has ended meanwhile. */
  refuseIfEnded(this: void): void
}

/**
 * Sends the statements that open a transaction or a savepoint.
 *
 * @throws the error of a statement or of `refuseIfEnded`; then nothing is open
 */
export async function sendBegin(
  parent: TransactionNode,
  { open, close }: TransactionStatements,
  { isOutermost, limits, refuseIfEnded }: BeginOptions,
): Promise<void> {
  await parent.section(limits, async (lease) => {
    try {
      for (const text of open) await lease.runUnchecked(parent.backend.compiler.plain(text), limits)
      refuseIfEnded()
    } catch (error) {
      // Some statements may have run. BEGIN is undone here; a SAVEPOINT is undone when its transaction ends.
      if (isOutermost) await undo(parent, close, error)
      throw error
    }
  })
}

async function undo(parent: TransactionNode, close: readonly string[], error: unknown): Promise<void> {
  const { lease } = parent
  try {
    await lease.reset()
    if (lease.isUsable)
      for (const text of close) await lease.runUninterrupted(parent.backend.compiler.plain(text))
  } catch (cleanup) {
    lease.destroy()
    attachCleanup(error, cleanup)
  }
}
