/** tarn's pool with its gaps closed: a true cap, connections retired on return, waiters that can leave. */
import knex from 'knex'
import type { PendingOperation } from 'tarn/dist/PendingOperation'
import { ConnectionError, type DatabaseError } from '../errors'
import { type Limits, LONGEST_TIMER_MILLIS } from '../limits'
import type { Session } from './dialect'

export interface TarnPoolOptions {
  /** Connections kept when they come back; the rest, up to `max`, are closed. */
  readonly size: number
  readonly max: number
  readonly idleTimeoutMillis: number
  readonly acquireTimeoutMillis: number
  create(this: void): Promise<Session>
  destroy(this: void, session: Session): Promise<void>
  /** Asked before each loan. */
  validate(this: void, session: Session): Promise<boolean>
  /** Asked of idle ones once a second. */
  isExpired(this: void, session: Session): boolean
}

/** Beyond every timeout that our own code sets: tarn's timers are only there as a backstop. */
const BACKSTOP_MILLIS = 10_000

function backstop(millis: number): number {
  return Math.min(Math.ceil(millis) + BACKSTOP_MILLIS, LONGEST_TIMER_MILLIS)
}

export class TarnPool extends knex.KnexPool<Session> {
  readonly #size: number
  readonly #waiters = new Set<(error: DatabaseError) => void>()
  readonly #isExpired: (session: Session) => boolean

  constructor(options: TarnPoolOptions) {
    super({
      min: 0,
      max: options.max,
      create: options.create,
      destroy: options.destroy,
      // tarn awaits the answer, whatever its types say (tarn/dist/Pool.js, _validateResource).
      validate: options.validate as unknown as (session: Session) => boolean,
      acquireTimeoutMillis: backstop(options.acquireTimeoutMillis),
      createTimeoutMillis: backstop(options.acquireTimeoutMillis),
      // tarn takes whole numbers only, and no Infinity.
      idleTimeoutMillis: Math.min(Math.ceil(options.idleTimeoutMillis), Number.MAX_SAFE_INTEGER),
      reapIntervalMillis: 1000,
      createRetryIntervalMillis: 50,
      // Our pool tells its waiters itself: tarn rejects the first one while it still stands in the queue, where a
      // connection that comes back in that moment is handed to it and lost.
      propagateCreateError: false,
      log: () => undefined,
    })
    this.#size = options.size
    this.#isExpired = options.isExpired
  }

  /** True when whoever asks now has to wait, be it for a connection that is being opened. */
  get isBusy(): boolean {
    return this.free.length === 0 || this.pendingAcquires.length > 0
  }

  get isWaitedFor(): boolean {
    return this.#waiters.size > 0
  }

  /**
   * Takes a connection, in the order asked. One whose limits run out leaves the queue, and never takes a connection
   * with it.
   *
   * @throws what `limits` makes of its end, or what {@link failWaiters} was given
   */
  take(limits: Limits): Promise<Session> {
    const operation = this.acquire()
    return new Promise((resolve, reject) => {
      let isSettled = false
      const settle = (): void => {
        isSettled = true
        stopWatching()
        this.#waiters.delete(fail)
      }
      const fail = (error: DatabaseError): void => {
        settle()
        this.#leaveQueue(operation)
        reject(error)
      }
      const stopWatching = limits.watch((expiry) => {
        fail(limits.error(expiry))
      })
      this.#waiters.add(fail)
      operation.promise.then(
        (session) => {
          // It may have been called off in the very moment in which it was served.
          if (isSettled) {
            this.giveBack(session)
            return
          }
          settle()
          resolve(session)
        },
        (cause: unknown) => {
          if (!isSettled) fail(new ConnectionError('No connection could be had from the pool.', { cause }))
        },
      )
    })
  }

  failWaiters(error: DatabaseError): void {
    for (const fail of this.#waiters) fail(error)
  }

  /**
   * One that is being served is past the queue: its promise will resolve, and what it resolves to is given back.
   * Aborting it then would lose the connection for good, since tarn sets `isRejected` some ticks after the abort.
   */
  #leaveQueue(operation: PendingOperation<Session>): void {
    const at = this.pendingAcquires.indexOf(operation)
    if (at < 0) return
    this.pendingAcquires.splice(at, 1)
    operation.abort()
  }

  /** Puts a connection back, unless it is one too many and nobody waits for it. */
  giveBack(session: Session): void {
    const extra = this.used.length + this.free.length > this.#size
    if (extra && this.pendingAcquires.length === 0) this.retire(session)
    else this.release(session)
  }

  /** Closes a connection that is out, instead of taking it back. */
  retire(session: Session): void {
    const at = this.used.findIndex((resource) => resource.resource === session)
    const [resource] = at < 0 ? [] : this.used.splice(at, 1)
    if (resource === undefined) return
    resource.settle()
    void this._destroy(session)
  }

  /** Closes connections that are idle and past their time: tarn alone would wait until somebody asks for them. */
  override check(): void {
    const expired = this.free.filter((resource) => this.#isExpired(resource.resource))
    this.free = this.free.filter((resource) => !expired.includes(resource))
    for (const resource of expired) {
      resource.settle()
      void this._destroy(resource.resource)
    }
    super.check()
  }

  // tarn counts a connection that is being closed as gone, and so exceeds its cap while closing is slow.
  override _shouldCreateMoreResources(): boolean {
    return (
      super._shouldCreateMoreResources() &&
      this.used.length + this.pendingCreates.length + this.pendingDestroys.length < this.max
    )
  }

  // … and since it is counted now, its end is the moment when a waiter may be served.
  override async _destroy(session: Session): Promise<Session | void> {
    const destroyed = await super._destroy(session)
    this._tryAcquireOrCreate()
    return destroyed
  }

  // Idle connections must not keep the process alive.
  override _startReaping(): void {
    super._startReaping()
    this.interval?.unref()
  }
}
