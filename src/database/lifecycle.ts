/** From connect() to disconnect(): opens the pool, lends it while it is there, closes it. */
import { inspect } from 'node:util'
import type { Backend } from './query/backend'
import type { Lease } from './pool/lease'
import type { Pool } from './pool/pool'
import { waitAtMost } from './context/watchdog'
import { ConfigurationError, NotConnectedError } from './errors'
import type { Events } from './events'
import { Limits } from './context/limits'
import { LONGEST_TIMER_MILLIS } from './context/deadline-timer'

export interface LifecycleHooks {
  /** Runs on each new connection before anybody else has it. */
  prepare(this: void, lease: Lease): Promise<void>
  /** Runs when the pool is open, before connect() resolves. */
  opened(this: void, pool: Pool): Promise<void>
  /** Runs before the pool is closed. */
  closing(this: void): Promise<void>
}

/** How long a connect() that has failed waits for the connections that it did open to close. */
const FAILED_PATIENCE_MILLIS = 100
/** What connect() and the rollback of a test get, however short the grace is. */
const LEAST_GRACE_MILLIS = 50

export class Lifecycle {
  readonly #backend: Backend
  readonly #events: Events
  readonly #hooks: LifecycleHooks
  #pool: Pool | null = null
  #connecting: Promise<void> | null = null
  /** The pool that connect() is opening. */
  #opening: Pool | null = null
  #disconnecting: Promise<void> | null = null

  constructor(backend: Backend, events: Events, hooks: LifecycleHooks) {
    this.#backend = backend
    this.#events = events
    this.#hooks = hooks
  }

  get isConnected(): boolean {
    return this.#pool !== null && this.#disconnecting === null
  }

  /** The pool, or null when not connected: for those who only look. */
  get current(): Pool | null {
    return this.#pool
  }

  /** @throws NotConnectedError */
  get pool(): Pool {
    if (this.#pool === null) {
      const { name } = this.#backend.settings
      throw new NotConnectedError(`Database '${name}' is not connected. Call await database.connect() first.`)
    }
    return this.#pool
  }

  async connect(): Promise<void> {
    if (this.#disconnecting !== null) await this.#disconnecting
    // One promise for all who ask, so that there is one pool.
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
      // Whatever did not open until now is not waited for.
      await pool.close(0, FAILED_PATIENCE_MILLIS)
      this.#connecting = null
      throw error
    } finally {
      this.#opening = null
    }
    this.#pool = pool
    pool.start()
    this.#events.tell('connect')
  }

  /** Refuses new work from this very moment on. */
  disconnect(graceMillis: number): Promise<void> {
    if (!(graceMillis >= 0)) {
      throw new ConfigurationError(`graceMillis is a number from 0 up, got ${inspect(graceMillis)}.`)
    }
    return (this.#disconnecting ??= this.#disconnect(graceMillis))
  }

  async #disconnect(graceMillis: number): Promise<void> {
    // One that is just being opened is opened first, if that is done within the grace.
    const started = performance.now()
    const left = (): number =>
      Math.max(0, Math.min(graceMillis - (performance.now() - started), LONGEST_TIMER_MILLIS))
    await waitAtMost(Math.max(left(), LEAST_GRACE_MILLIS), Promise.allSettled([this.#connecting]))
    this.#opening?.refuseCallers()
    await Promise.allSettled([this.#connecting])
    const pool = this.#pool
    if (pool !== null) {
      // What was asked for from now on would not be part of what is rolled back.
      pool.refuseCallers()
      await waitAtMost(
        Math.max(left(), LEAST_GRACE_MILLIS),
        this.#hooks.closing().catch(() => undefined),
      )
      const stuck = await pool.close(left())
      for (const { label } of stuck) {
        this.#events.tell('cleanup', { what: 'a connection, which was cut off by disconnect()', label })
      }
    }
    this.#pool = null
    this.#connecting = null
    this.#disconnecting = null
    if (pool !== null) this.#events.tell('disconnect')
  }
}
