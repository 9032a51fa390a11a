/** The life of a Database's pool: opens it at connect(), closes it at disconnect(). */
import { inspect } from 'node:util'
import type { DatabaseBackend } from './create-backend'
import type { Lease } from './pool/lease'
import type { Pool } from './pool/pool'
import { waitAtMost, LONGEST_TIMER_MILLIS } from './context/timers'
import { ConfigurationError } from './errors'
import type { Events } from './events'
import { Limits } from './context/limits'

export interface LifecycleHooks {
  /** Runs on each new connection before it is lent. */
  prepare(this: void, lease: Lease): Promise<void>
  /** Runs when the pool is open, before connect() resolves. */
  opened(this: void, pool: Pool): Promise<void>
  /** Runs before the pool is closed. */
  closing(this: void): Promise<void>
}

/** How long a failed connect() waits until the connections that it opened are closed. */
const FAILED_CLOSE_MILLIS = 100
/** The least time that disconnect() gives to a pending connect() and to a forced rollback, however short its grace. */
const MIN_GRACE_MILLIS = 50

export class Lifecycle {
  readonly #backend: DatabaseBackend
  readonly #events: Events
  readonly #hooks: LifecycleHooks
  /** Null when not connected. */
  pool: Pool | null = null
  #connecting: Promise<void> | null = null
  /** The pool that connect() is opening. */
  #opening: Pool | null = null
  #disconnecting: Promise<void> | null = null

  constructor(backend: DatabaseBackend, events: Events, hooks: LifecycleHooks) {
    this.#backend = backend
    this.#events = events
    this.#hooks = hooks
  }

  get isConnected(): boolean {
    return this.pool !== null && this.#disconnecting === null
  }

  async connect(): Promise<void> {
    if (this.#disconnecting !== null) await this.#disconnecting
    // All callers share one promise, so that there is one pool.
    this.#connecting ??= this.#connect()
    await this.#connecting
  }

  async #connect(): Promise<void> {
    const pool = this.#backend.createPool(this.#hooks.prepare)
    this.#opening = pool
    try {
      const limits = Limits.of(undefined, 'connect')
      const { connectTimeoutMillis: waitMillis } = this.#backend.settings
      await pool.release(await pool.lend(limits, { writes: false, waitMillis }))
      await this.#hooks.opened(pool)
    } catch (error) {
      // Connections that are still opening are not awaited.
      await pool.close(0, FAILED_CLOSE_MILLIS)
      this.#connecting = null
      throw error
    } finally {
      this.#opening = null
    }
    this.pool = pool
    pool.start()
    this.#events.tell('connect')
  }

  /** Refuses new work at once, then closes the pool. All callers share one promise. */
  disconnect(graceMillis: number): Promise<void> {
    if (!(graceMillis >= 0)) {
      throw new ConfigurationError(`graceMillis is a number from 0 up, got ${inspect(graceMillis)}.`)
    }
    return (this.#disconnecting ??= this.#disconnect(graceMillis))
  }

  async #disconnect(graceMillis: number): Promise<void> {
    // A connect() under way may finish first, within the grace.
    const started = performance.now()
    const remainingMillis = (): number =>
      Math.max(0, Math.min(graceMillis - (performance.now() - started), LONGEST_TIMER_MILLIS))
    await waitAtMost(Math.max(remainingMillis(), MIN_GRACE_MILLIS), Promise.allSettled([this.#connecting]))
    this.#opening?.refuseCallers()
    await Promise.allSettled([this.#connecting])
    const pool = this.pool
    if (pool !== null) {
      // Work that starts after this point would not be part of the forced rollback.
      pool.refuseCallers()
      await waitAtMost(
        Math.max(remainingMillis(), MIN_GRACE_MILLIS),
        this.#hooks.closing().catch(() => undefined),
      )
      const stuck = await pool.close(remainingMillis())
      for (const { label } of stuck) {
        this.#events.tell('cleanup', { what: 'a connection, which was cut off by disconnect()', label })
      }
    }
    this.pool = null
    this.#connecting = null
    this.#disconnecting = null
    if (pool !== null) this.#events.tell('disconnect')
  }
}
