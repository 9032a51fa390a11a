/** Transactions and connections that are opened by the first query of their work, if it makes any. */
import type { CurrentTransaction } from './current'
import { beginTransaction, acquireConnection, type ConnectionSource } from './with-connection'
import type { TransactionNode, OpenLevel } from './transaction-node'
import { LazyValue } from '../context/lazy-value'
import type { TransactionOptions } from '../query/queryable'
import { runBound } from '../context/scope'

/** Asked for when it is needed, since a Database that is not connected has none. */
type Lender = () => ConnectionSource

export function lazyTransaction<T>(
  key: object,
  ambient: CurrentTransaction,
  lender: Lender,
  work: () => Promise<T>,
  options: TransactionOptions,
): Promise<T> {
  // Settled here: where the query is made, it is this very transaction.
  const around = ambient.find()
  const open = async (signal: AbortSignal): Promise<OpenLevel> => {
    const bound = around instanceof LazyValue ? await around.get() : around
    const signals = options.signal === undefined ? [signal] : [signal, options.signal]
    const limited = { ...options, signal: AbortSignal.any(signals) }
    return bound === null ? beginTransaction(lender(), limited) : ambient.beginIn(bound, limited)
  }
  return whenAsked(key, work, open, {
    succeeded: (tx) => tx.finish(false),
    failed: (tx, error) => tx.fail(error),
  })
}

export function lazyConnection<T>(
  key: object,
  ambient: CurrentTransaction,
  lender: Lender,
  work: () => Promise<T>,
): Promise<T> {
  if (ambient.find() !== null) return work()
  return whenAsked(key, work, (signal) => acquireConnection(lender(), signal), {
    succeeded: (connection) => connection.finish(),
    failed: (connection) => connection.release(),
  })
}

interface Ends<H> {
  succeeded(this: void, opened: H): Promise<void>
  failed(this: void, opened: H, error: unknown): Promise<void>
}

async function whenAsked<T, H extends TransactionNode>(
  key: object,
  work: () => Promise<T>,
  open: (signal: AbortSignal) => Promise<H>,
  { succeeded, failed }: Ends<H>,
): Promise<T> {
  const demand = new LazyValue(open)
  let result: T
  try {
    result = await runBound(key, demand, work)
  } catch (error) {
    const opened = await demand.cancel()
    if (opened !== null) await failed(opened, error)
    throw error
  }
  const opened = await demand.end()
  if (opened !== null) await succeeded(opened)
  return result
}
