/** Sends a BEGIN or SAVEPOINT. */
import type { TransactionStatements } from '../driver/dialect'
import type { TransactionNode } from './transaction-node'
import { attachCleanup } from '../errors'
import type { Limits } from '../context/limits'

export interface Circumstances {
  /** It is a BEGIN. */
  readonly isOutermost: boolean
  readonly limits: Limits
  /** Throws when it would be too late for it. */
  refuse(this: void): void
}

/** @throws the reason why it failed, or what `refuse` throws; then nothing is open */
export async function sendBegin(
  on: TransactionNode,
  { open, close }: TransactionStatements,
  { isOutermost, limits, refuse }: Circumstances,
): Promise<void> {
  await on.section(limits, async (lease) => {
    try {
      for (const text of open) await lease.runUnchecked(on.backend.compiler.plain(text), limits)
      refuse()
    } catch (error) {
      // Part of it may have happened, and is undone here: a SAVEPOINT by the end of its transaction.
      if (isOutermost) await undo(on, close, error)
      throw error
    }
  })
}

async function undo(on: TransactionNode, close: readonly string[], error: unknown): Promise<void> {
  const { lease } = on
  try {
    await lease.reset()
    if (lease.isUsable)
      for (const text of close) await lease.runUninterrupted(on.backend.compiler.plain(text))
  } catch (cleanup) {
    lease.destroy()
    attachCleanup(error, cleanup)
  }
}
