/** Connections borrowed from the pool for one piece of work, and given back whatever becomes of it. */
import type { Backend } from '../query/backend'
import type { Access } from '../driver/statement'
import type { Lease, Work } from '../pool/lease'
import type { Pool } from '../pool/pool'
import { HeldConnection, type JoinedConnection } from './connection'
import { ConnectionError } from '../errors'
import { followedBy, Hooks, runHooks } from './hooks'
import type { OpenLevel } from './transaction-node'
import { Limits } from '../context/limits'
import { type Connection, limitsOf, type Transaction, type TransactionOptions } from '../query/queryable'

export interface ConnectionSource {
  readonly backend: Backend
  /** The Database, as the key under which scopes know it. */
  readonly key: object
  readonly pool: Pool
}

/** Borrows a connection that is not given back by itself. */
export async function acquireConnection(
  { backend, key, pool }: ConnectionSource,
  signal?: AbortSignal,
): Promise<HeldConnection> {
  const limits = Limits.of({ signal }, '')
  const lease =
    pool.tryLend(limits, false, true) ?? (await pool.lend(limits, { writes: false, endsWithLimits: true }))
  return new HeldConnection(backend, key, pool, lease)
}

/** Runs work with a connection. When the work succeeds, what it has started on the connection ends first. */
export async function withConnection<T>(
  { backend, key, pool }: ConnectionSource,
  limits: Limits,
  writes: boolean,
  work: (connection: HeldConnection) => Promise<T>,
): Promise<T> {
  const lease =
    pool.tryLend(limits, writes, true) ?? (await pool.lend(limits, { writes, endsWithLimits: true }))
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

/** Runs work with the connection of a transaction that is open already, which keeps it. */
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

/**
 * Runs work of one statement on a connection lent for it. A read that meets a dead connection is run again, once: what
 * was lost before, nobody had noticed.
 */
export async function withLease<T>(pool: Pool, limits: Limits, access: Access, work: Work<T>): Promise<T> {
  const lease = pool.tryLend(limits, !access.isRead) ?? (await pool.lend(limits, { writes: !access.isRead }))
  lease.beginSection(null, limits)
  try {
    return await work(lease, limits)
  } catch (error) {
    if (!isDead(error, lease) || !access.isRepeatable) throw error
  } finally {
    lease.endSection()
    if (!pool.tryRelease(lease)) await pool.release(lease)
  }
  const fresh = await pool.lend(limits, { writes: false })
  try {
    return await fresh.section(null, limits, () => work(fresh, limits))
  } finally {
    await pool.release(fresh)
  }
}

function isDead(error: unknown, lease: Lease): boolean {
  return error instanceof ConnectionError && lease.session.broken !== null
}

/** Runs work in a transaction, and its hooks when the connection has been given back. */
export function runTransaction<T>(
  from: ConnectionSource,
  work: (tx: Transaction) => Promise<T>,
  options: TransactionOptions,
): Promise<T> {
  const limits = limitsOf(options)
  const hooks = new Hooks()
  const around = (): null => null
  return followedBy(from.key, around, hooks, () =>
    retryBeginOnce((progress) =>
      withConnection(from, limits, options.readOnly !== true, (connection) => {
        progress.lease = connection.lease
        const started = (tx: Transaction): Promise<T> => {
          progress.hasBegun = true
          return work(tx)
        }
        return connection.transactionBefore(hooks, started, options, limits)
      }),
    ),
  )
}

/** Begins a transaction that gives its connection back when it has been ended. */
export function beginTransaction(
  { backend, key, pool }: ConnectionSource,
  options: TransactionOptions,
): Promise<OpenLevel> {
  const limits = limitsOf(options)
  return retryBeginOnce(async (progress) => {
    const writes = options.readOnly !== true
    const lease =
      pool.tryLend(limits, writes, true) ?? (await pool.lend(limits, { writes, endsWithLimits: true }))
    progress.lease = lease
    const connection = new HeldConnection(backend, key, pool, lease)
    try {
      return await connection.beginThen(options, limits, async (hooks) => {
        await connection.release()
        await runHooks(key, null, hooks)
      })
    } catch (error) {
      await connection.release()
      throw error
    }
  })
}

interface Progress {
  lease?: Lease
  hasBegun?: boolean
}

/** Begins once more, on another connection, when the first one was dead already. */
async function retryBeginOnce<T>(attempt: (progress: Progress) => Promise<T>): Promise<T> {
  const progress: Progress = {}
  try {
    return await attempt(progress)
  } catch (error) {
    const { lease, hasBegun = false } = progress
    if (hasBegun || lease === undefined || !isDead(error, lease)) throw error
  }
  return attempt({})
}
