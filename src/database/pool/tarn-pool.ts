/** tarn's pool, corrected: a true maximum, few connects at a time, a queue that callers can leave. */
import knex from 'knex'
import type { PendingOperation } from 'tarn/dist/PendingOperation'
import type { DatabaseError } from '../errors'
import type { Limits } from '../context/limits'
import { LinkedList } from '../context/linked-list'
import type { PooledSession } from './pooled-session'
import { LONGEST_TIMER_MILLIS } from '../context/timers'

export interface TarnPoolOptions {
  /** Connections that are kept; those beyond, up to `max`, are closed when they come back. */
  readonly size: number
  readonly max: number
  readonly longestWaitMillis: number
  create(this: void): Promise<PooledSession>
  destroy(this: void, pooled: PooledSession): Promise<void>
}

/** Added to millpond's own timeouts, so that tarn's timers fire only if those have failed. */
const BACKSTOP_MILLIS = 10_000

/** Connections that are opened at the same time when callers begin to wait. */
const INITIAL_PARALLEL_OPENS = 2

function backstop(millis: number): number {
  return Math.min(Math.ceil(millis) + BACKSTOP_MILLIS, LONGEST_TIMER_MILLIS)
}

/** A caller that waits for a connection. */
interface Waiter {
  readonly serve: (pooled: PooledSession) => void
  readonly fail: (error: DatabaseError) => void
}

export class TarnPool extends knex.KnexPool<PooledSession> {
  readonly #size: number
  /**
   * First come, first served. tarn's own queue takes two timers and eight promises for each waiter, prefers waiters whose
   * connection gave no answer, and loses a connection that comes back while a waiter leaves.
   */
  readonly #waiters = new LinkedList<Waiter>()
  /** Connections that are pinged for a waiter, and are not silent yet. */
  #validating = 0
  /**
   * How many connections may be opened at the same time. A short rush of statements is over when the first ones are open,
   * and needs no more; otherwise the number is doubled.
   */
  #maxParallelOpens = INITIAL_PARALLEL_OPENS
  /** How many connections must still be opened before that number is doubled. */
  #opensBeforeDoubling = INITIAL_PARALLEL_OPENS
  /** Idle connections that are being pinged. */
  #probing = 0

  constructor(options: TarnPoolOptions) {
    super({
      min: 0,
      max: options.max,
      create: options.create,
      destroy: options.destroy,
      acquireTimeoutMillis: backstop(options.longestWaitMillis),
      createTimeoutMillis: backstop(options.longestWaitMillis),
      createRetryIntervalMillis: 50,
      // The pool rejects its waiters itself: see failWaiters().
      propagateCreateError: false,
      log: () => undefined,
    })
    this.#size = options.size
  }

  /** True when a caller that asks now has to wait, for a connection to come back or to be opened. */
  get isBusy(): boolean {
    return this.free.length === 0 || this.hasWaiters
  }

  get hasWaiters(): boolean {
    return this.#waiters.size > 0
  }

  /** Idle connections, least recently used first. */
  get idle(): readonly PooledSession[] {
    return this.free.map((resource) => resource.resource)
  }

  /** Idle connections, including those that are being pinged. */
  get idleCount(): number {
    return this.free.length + this.#probing
  }

  get creating(): number {
    return this.pendingCreates.length
  }

  /** Connections that are open or being opened. */
  get openCount(): number {
    return this.used.length + this.free.length + this.pendingCreates.length
  }

  /** Takes the most recently used connection, if no caller waits and it needs no ping; else null. */
  tryTake(): PooledSession | null {
    const resource = this.free.at(-1)
    if (resource === undefined || this.hasWaiters || this.destroyed) return null
    if (!resource.resource.isFresh) return null
    this.free.pop()
    this.used.push(resource)
    return resource.resource
  }

  /**
   * Takes a connection, first come, first served: one that comes back or a new one, whichever is first. A caller whose
   * limits run out leaves the queue, and takes no connection with it.
   *
   * @throws the error of `limits`, or what {@link failWaiters} was given
   */
  take(limits: Limits): Promise<PooledSession> {
    return new Promise((resolve, reject) => {
      const leaveQueue = (): void => {
        stopWatching()
        this.#waiters.remove(entry)
      }
      const waiter: Waiter = {
        serve: (pooled) => {
          leaveQueue()
          resolve(pooled)
        },
        fail: (error) => {
          leaveQueue()
          reject(error)
        },
      }
      const stopWatching = limits.watch((expiry) => {
        waiter.fail(limits.error(expiry))
      })
      const entry = this.#waiters.add(waiter)
      this._tryAcquireOrCreate()
    })
  }

  /** Rejects all callers that wait. */
  failWaiters(error: DatabaseError): void {
    for (const { value } of this.#waiters.all()) value.fail(error)
  }

  /** Gives a connection, which counts as used already, to the next waiter. Returns false if there is none. */
  #serve(pooled: PooledSession): boolean {
    const next = this.#waiters.first
    next?.serve(pooled)
    return next !== undefined
  }

  /** True when a connection that comes back now is beyond `size`, and no caller waits for it. */
  get hasExcess(): boolean {
    return this.used.length + this.free.length > this.#size && !this.hasWaiters
  }

  /** Takes a connection back: lends it to the next waiter, keeps it, or closes it. */
  giveBack(pooled: PooledSession): void {
    if (this.hasExcess) this.retire(pooled)
    else if (this.destroyed) this.release(pooled)
    else if (this.#waiters.size === 0 || !pooled.isFresh || !this.#serve(pooled)) this.#putBack(pooled)
  }

  /** Does what tarn's release() does, for a connection that no waiter takes. */
  #putBack(pooled: PooledSession): void {
    const at = this.used.findIndex((resource) => resource.resource === pooled)
    const [resource] = at < 0 ? [] : this.used.splice(at, 1)
    if (resource === undefined) return
    this.free.push(resource)
    this._tryAcquireOrCreate()
  }

  /** Closes a connection, lent or idle. */
  retire(pooled: PooledSession): void {
    for (const list of [this.used, this.free]) {
      const at = list.findIndex((resource) => resource.resource === pooled)
      const [resource] = at < 0 ? [] : list.splice(at, 1)
      if (resource === undefined) continue
      resource.settle()
      void this._destroy(pooled)
    }
  }

  /** Pings an idle connection, which cannot be lent meanwhile, and closes it if it does not answer. */
  async probe(pooled: PooledSession): Promise<void> {
    const at = this.free.findIndex((resource) => resource.resource === pooled)
    const [resource] = at < 0 ? [] : this.free.splice(at, 1)
    if (resource === undefined) return
    this.used.push(resource)
    this.#probing += 1
    const isFit = await pooled.isAlive()
    this.#probing -= 1
    const usedAt = this.used.indexOf(resource)
    if (usedAt < 0) return
    if (!isFit) {
      this.retire(pooled)
      return
    }
    this.used.splice(usedAt, 1)
    // To the front, since the list is ordered by last use, and a ping is no use.
    // resolve(), since tarn's destroy() may be waiting for the connection to come back.
    this.free.unshift(resource.resolve())
    this._tryAcquireOrCreate()
  }

  /** Opens connections ahead of demand until `min` are open. */
  openUpTo(min: number): void {
    while (
      this.openCount < min &&
      this.openCount + this.pendingDestroys.length < this.max &&
      this.pendingCreates.length < this.#maxParallelOpens &&
      !this.destroyed
    ) {
      this._create().promise.then(
        () => {
          this._tryAcquireOrCreate()
          this.openUpTo(min)
        },
        () => undefined,
      )
    }
  }

  override _tryAcquireOrCreate(): void {
    if (this.destroyed) return
    while (this.free.length > 0 && this.#waiters.size > this.#validating) this.#lendFree()
    // tarn opens one connection per acquire(), and so none for the callers that still wait when one has been opened.
    while (this._shouldCreateMoreResources()) this._doCreate()
  }

  /** Lends an idle connection to the first waiter; if it needs a ping, to the waiter that is first after that. */
  #lendFree(): void {
    const resource = this.free.pop()
    if (resource === undefined) return
    const pooled = resource.resource
    this.used.push(resource)
    if (pooled.isFresh) {
      this.#serve(pooled)
      return
    }
    this.#validating += 1
    let isCounted = true
    const uncount = (): void => {
      if (isCounted) this.#validating -= 1
      isCounted = false
    }
    // The waiter gets the next connection that answers or is opened.
    const onSilence = (): void => {
      uncount()
      this._tryAcquireOrCreate()
    }
    void pooled.canBeLent(onSilence).then((isFit) => {
      uncount()
      if (!this.used.includes(resource)) this._tryAcquireOrCreate()
      else if (!isFit) this.retire(pooled)
      else if (this.destroyed) this.release(pooled)
      else if (!this.#serve(pooled)) this.#putBack(pooled)
    })
  }

  // tarn counts a connection that is being closed as gone, and so exceeds its maximum while closing is slow.
  override _shouldCreateMoreResources(): boolean {
    return (
      this.pendingCreates.length < this.#maxParallelOpens &&
      this.pendingCreates.length + this.#validating < this.#waiters.size &&
      this.used.length + this.free.length + this.pendingCreates.length + this.pendingDestroys.length <
        this.max
    )
  }

  override _create(): PendingOperation<PooledSession> {
    const opening = super._create()
    opening.promise.then(
      () => {
        this.#opensBeforeDoubling -= 1
        if (this.#waiters.size <= 1) this.#maxParallelOpens = INITIAL_PARALLEL_OPENS
        else if (this.#opensBeforeDoubling <= 0) this.#maxParallelOpens *= 2
        else return
        this.#opensBeforeDoubling = this.#maxParallelOpens
      },
      () => {
        // While the server is away, one connection at a time is tried.
        this.#maxParallelOpens = 1
        this.#opensBeforeDoubling = 1
      },
    )
    return opening
  }

  // Since a connection counts until it is closed, its end is when another one may be opened for a waiter.
  override async _destroy(pooled: PooledSession): Promise<PooledSession | void> {
    const destroyed = await super._destroy(pooled)
    this._tryAcquireOrCreate()
    return destroyed
  }

  // housekeeper.ts takes the place of tarn's reaping.
  override _startReaping(): void {}
}
