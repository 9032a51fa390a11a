/** Borrows a connection from the pool for one piece of work, and gives it back however the work ends. */
import type { Backend } from '../query/backend'
import type { Lease } from '../pool/lease'
import type { Pool } from '../pool/pool'
import { HeldConnection, type JoinedConnection } from './connection'
import { withHooks, Hooks, runHooks } from './hooks'
import type { ChildTransaction } from './transaction-node'
import { Limits } from '../context/limits'
import {
  type Connection,
  transactionLimits,
  type Transaction,
  type TransactionOptions,
} from '../query/queryable'

export interface ConnectionSource {
  readonly backend: Backend
  /** The Database, as the key under which scopes know it. */
  readonly key: object
  readonly pool: Pool
}

/** Borrows a connection that the caller gives back. */
export async function acquireConnection(
  { backend, key, pool }: ConnectionSource,
  signal?: AbortSignal,
): Promise<HeldConnection> {
  const limits = Limits.of({ signal }, '')
  const lease =
    pool.tryLend(limits, false, true) ?? (await pool.lend(limits, { writes: false, isHeld: true }))
  return new HeldConnection(backend, key, pool, lease)
}

/** Runs work with a connection, and gives it back. After success, statements still running on it are awaited first. */
export async function withConnection<T>(
  { backend, key, pool }: ConnectionSource,
  limits: Limits,
  writes: boolean,
  work: (connection: HeldConnection) => Promise<T>,
): Promise<T> {
  const lease = pool.tryLend(limits, writes, true) ?? (await pool.lend(limits, { writes, isHeld: true }))
  const connection = new HeldConnection(backend, key, pool, lease)
  let result: T
  try {
    result = await work(connection)
  } catch (error) {
    await connection.release()
    throw error
  }
  if (!connection.tryFinish()) await connection.finish()
  return result
}

/** Runs work with the connection of an open transaction, which keeps the connection. */
export async function withJoinedConnection<T>(
  connection: JoinedConnection,
  work: (connection: Connection) => Promise<T>,
): Promise<T> {
  try {
    return await work(connection)
  } finally {
    await connection.release()
  }
}

/** Runs work in a transaction, then runs its hooks after giving the connection back. */
export function runTransaction<T>(
  source: ConnectionSource,
  work: (tx: Transaction) => Promise<T>,
  options: TransactionOptions,
): Promise<T> {
  const limits = transactionLimits(options)
  const hooks = new Hooks()
  const enclosing = (): null => null
  return withHooks(source.key, enclosing, hooks, () =>
    retryBeginOnce((progress) =>
      withConnection(source, limits, options.readOnly !== true, (connection) => {
        progress.lease = connection.lease
        const startWork = (tx: Transaction): Promise<T> => {
          progress.workStarted = true
          return work(tx)
        }
        return connection.transactionCollectingHooks(hooks, startWork, options, limits)
      }),
    ),
  )
}

/** Begins a transaction that gives its connection back when it ends. */
export function beginTransaction(
  { backend, key, pool }: ConnectionSource,
  options: TransactionOptions,
): Promise<ChildTransaction> {
  const limits = transactionLimits(options)
  return retryBeginOnce(async (progress) => {
    const writes = options.readOnly !== true
    const lease = pool.tryLend(limits, writes, true) ?? (await pool.lend(limits, { writes, isHeld: true }))
    progress.lease = lease
    const connection = new HeldConnection(backend, key, pool, lease)
    try {
      return await connection.beginHandle(options, limits, async (hooks) => {
        await connection.release()
        await runHooks(key, null, hooks)
      })
    } catch (error) {
      await connection.release()
      throw error
    }
  })
}

interface BeginProgress {
  lease?: Lease
  workStarted?: boolean
}

/** Runs `attempt` once more, on another connection, if the first was lost before the caller's work started. */
async function retryBeginOnce<T>(attempt: (progress: BeginProgress) => Promise<T>): Promise<T> {
  const progress: BeginProgress = {}
  try {
    return await attempt(progress)
  } catch (error) {
    const { lease, workStarted = false } = progress
    if (workStarted || lease === undefined || !lease.isLostBy(error)) throw error
  }
  return attempt({})
}
