/** Transactions and connections that the first query of the work opens; without a query none is opened. */
import type { CurrentTransaction } from './current'
import { beginTransaction, acquireConnection, type ConnectionSource } from './with-connection'
import type { TransactionNode, ChildTransaction } from './transaction-node'
import { LazyValue } from '../context/lazy-value'
import type { TransactionOptions } from '../query/queryable'
import { runBound } from '../context/scope'

/** Called only at the first query, since it throws while the Database is not connected. */
type GetSource = () => ConnectionSource

export function lazyTransaction<T>(
  key: object,
  current: CurrentTransaction,
  getSource: GetSource,
  work: () => Promise<T>,
  options: TransactionOptions,
): Promise<T> {
  // Looked up here: in the scope of the query, the current transaction is this one.
  const enclosingOrLazy = current.find()
  const open = async (signal: AbortSignal): Promise<ChildTransaction> => {
    const enclosing = enclosingOrLazy instanceof LazyValue ? await enclosingOrLazy.get() : enclosingOrLazy
    const signals = options.signal === undefined ? [signal] : [signal, options.signal]
    const limited = { ...options, signal: AbortSignal.any(signals) }
    return enclosing === null ? beginTransaction(getSource(), limited) : current.beginIn(enclosing, limited)
  }
  return runWithLazy(key, work, open, {
    succeeded: (tx) => tx.finish(false),
    failed: (tx, error) => tx.fail(error),
  })
}

export function lazyConnection<T>(
  key: object,
  current: CurrentTransaction,
  getSource: GetSource,
  work: () => Promise<T>,
): Promise<T> {
  if (current.find() !== null) return work()
  return runWithLazy(key, work, (signal) => acquireConnection(getSource(), signal), {
    succeeded: (connection) => connection.finish(),
    failed: (connection) => connection.release(),
  })
}

interface OnSettled<H> {
  succeeded(this: void, opened: H): Promise<void>
  failed(this: void, opened: H, error: unknown): Promise<void>
}

async function runWithLazy<T, H extends TransactionNode>(
  key: object,
  work: () => Promise<T>,
  open: (signal: AbortSignal) => Promise<H>,
  { succeeded, failed }: OnSettled<H>,
): Promise<T> {
  const lazy = new LazyValue(open)
  let result: T
  try {
    result = await runBound(key, lazy, work)
  } catch (error) {
    const opened = await lazy.cancel()
    if (opened !== null) await failed(opened, error)
    throw error
  }
  const opened = await lazy.end()
  if (opened !== null) await succeeded(opened)
  return result
}
