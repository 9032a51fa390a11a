/** Transactions and connections that the first query of the work opens; without a query none is opened. */
import type { CurrentTransaction } from './current'
import { beginTransaction, acquireConnection, type ConnectionSource } from './with-connection'
import type { TransactionNode, ChildTransaction } from './transaction-node'
import { LazyValue } from '../context/lazy-value'
import type { Transaction, TransactionOptions } from '../query/queryable'
import { runBound } from '../context/scope'

/** Called only at the first query, since it throws while the Database is not connected. */
type GetSource = () => ConnectionSource

export interface LazyTransactionOptions extends Omit<TransactionOptions, 'retries' | 'forceRollback'> {
  /** Runs in the transaction right after its BEGIN. Until it has ended, the queries of the work wait. */
  readonly begin?: (tx: Transaction) => unknown
}

export function lazyTransaction<T>(
  key: object,
  current: CurrentTransaction,
  getSource: GetSource,
  work: () => Promise<T>,
  { begin, ...options }: LazyTransactionOptions,
): Promise<T> {
  // Looked up here: in the scope of the query, the current transaction is this one.
  const found = current.find()
  const open = async (signal: AbortSignal): Promise<ChildTransaction> => {
    const enclosing = found instanceof LazyValue ? await found.get() : found
    const signals = options.signal === undefined ? [signal] : [signal, options.signal]
    const limited = { ...options, signal: AbortSignal.any(signals) }
    return enclosing === null ? beginTransaction(getSource(), limited) : current.beginIn(enclosing, limited)
  }
  return runWithLazy(key, work, {
    open,
    begin,
    succeeded: (tx) => tx.finish(false),
    failed: (tx, error) => tx.fail(error),
  })
}

/** `begin` runs with the connection in its scope, before the first query of the work. */
export function lazyConnection<T>(
  key: object,
  current: CurrentTransaction,
  getSource: GetSource,
  work: () => Promise<T>,
  begin?: () => unknown,
): Promise<T> {
  const found = current.find()
  if (found === null) {
    return runWithLazy(key, work, {
      open: (signal) => acquireConnection(getSource(), signal),
      begin,
      succeeded: (connection) => connection.finish(),
      failed: (connection) => connection.release(),
    })
  }
  if (begin === undefined) return work()
  const open = async (): Promise<TransactionNode> => (found instanceof LazyValue ? found.get() : found)
  // Whoever has opened what is around the work ends it.
  const keep = (): Promise<void> => Promise.resolve()
  return runWithLazy(key, work, { open, begin, succeeded: keep, failed: keep })
}

/** How to open and to end what the work runs in. `begin` runs in between, before the first query of the work. */
interface Steps<H> {
  open(this: void, signal: AbortSignal): Promise<H>
  readonly begin: ((opened: H) => unknown) | undefined
  succeeded(this: void, opened: H): Promise<void>
  failed(this: void, opened: H, error: unknown): Promise<void>
}

async function runWithLazy<T, H extends TransactionNode>(
  key: object,
  work: () => Promise<T>,
  { open, begin, succeeded, failed }: Steps<H>,
): Promise<T> {
  let beginFailure = null as { readonly error: unknown } | null
  const openAndBegin = async (signal: AbortSignal): Promise<H> => {
    // A second attempt could succeed, and run the rest of work whose first query has failed.
    if (beginFailure !== null) throw beginFailure.error
    const opened = await open(signal)
    try {
      // Bound to what is open, since its own queries would wait for the end of `begin` in the scope of the work.
      await runBound(key, opened, () => begin?.(opened))
    } catch (error) {
      beginFailure = { error }
      await failed(opened, error)
      throw error
    }
    return opened
  }
  const lazy = new LazyValue(begin === undefined ? open : openAndBegin)
  let result: T
  try {
    result = await runBound(key, lazy, work)
  } catch (error) {
    const opened = await lazy.cancel()
    if (opened !== null) await failed(opened, error)
    throw error
  }
  const opened = await lazy.end()
  if (beginFailure !== null) throw beginFailure.error
  if (opened !== null) await succeeded(opened)
  return result
}
