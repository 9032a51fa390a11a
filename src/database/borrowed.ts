/** Connections borrowed from the pool for one piece of work, and given back whatever becomes of it. */
import type { Backend } from './backend/backend'
import type { Pool } from './backend/pool'
import { HeldConnection, type JoinedConnection } from './connection'
import { followedBy, type Hook, runHooks } from './hooks'
import type { Limits } from './limits'
import { type Connection, limitsOf, type Transaction, type TransactionOptions } from './queryable'

export interface BorrowedFrom {
  readonly backend: Backend
  /** The Database, as the key under which scopes know it. */
  readonly key: object
  readonly pool: Pool
}

/** Runs work with a connection. When the work succeeds, what it has started on the connection ends first. */
export async function withBorrowed<T>(
  { backend, key, pool }: BorrowedFrom,
  limits: Limits,
  writes: boolean,
  work: (connection: HeldConnection) => Promise<T>,
): Promise<T> {
  const connection = new HeldConnection(backend, key, pool, await pool.lend(limits, writes))
  let result: T
  try {
    result = await work(connection)
  } catch (error) {
    await connection.release()
    throw error
  }
  await connection.finish()
  return result
}

/** Runs work with the connection of a transaction that is open already, which keeps it. */
export async function withJoined<T>(
  connection: JoinedConnection,
  work: (connection: Connection) => Promise<T>,
): Promise<T> {
  try {
    return await work(connection)
  } finally {
    await connection.release()
  }
}

/** Runs work in a transaction, and its hooks when the connection has been given back. */
export function transactionBorrowed<T>(
  from: BorrowedFrom,
  work: (tx: Transaction) => Promise<T>,
  options: TransactionOptions,
): Promise<T> {
  const limits = limitsOf(options)
  const hooks: Hook[] = []
  const around = (): null => null
  return followedBy(from.key, around, hooks, () =>
    withBorrowed(from, limits, options.readOnly !== true, (connection) =>
      connection.transactionBefore(hooks, work, options, limits),
    ),
  )
}

/** Begins a transaction that gives its connection back when it has been ended. */
export async function beginBorrowed(
  { backend, key, pool }: BorrowedFrom,
  options: TransactionOptions,
): Promise<Transaction> {
  const limits = limitsOf(options)
  const connection = new HeldConnection(
    backend,
    key,
    pool,
    await pool.lend(limits, options.readOnly !== true),
  )
  try {
    return await connection.beginThen(options, limits, async (hooks) => {
      await connection.release()
      await runHooks(key, null, hooks)
    })
  } catch (error) {
    await connection.release()
    throw error
  }
}
