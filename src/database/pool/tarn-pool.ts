/** tarn's pool with its gaps closed: a true cap, no storm of connects, connections retired on return, a queue that can be left. */
import knex from 'knex'
import type { PendingOperation } from 'tarn/dist/PendingOperation'
import type { DatabaseError } from '../errors'
import type { Limits } from '../context/limits'
import { LinkedList } from '../context/linked-list'
import type { PooledSession } from './pooled-session'
import { LONGEST_TIMER_MILLIS } from '../context/deadline-timer'

export interface TarnPoolOptions {
  /** Connections kept when they come back; the rest, up to `max`, are closed. */
  readonly size: number
  readonly max: number
  readonly longestWaitMillis: number
  create(this: void): Promise<PooledSession>
  destroy(this: void, pooled: PooledSession): Promise<void>
}

/** Beyond every timeout that our own code sets: tarn's timers are only there as a backstop. */
const BACKSTOP_MILLIS = 10_000

/** Connections that are opened at the same time when waiters begin to queue. */
const INITIAL_PARALLEL_OPENS = 2

function backstop(millis: number): number {
  return Math.min(Math.ceil(millis) + BACKSTOP_MILLIS, LONGEST_TIMER_MILLIS)
}

/** Somebody who waits for a connection. */
interface Waiter {
  readonly serve: (pooled: PooledSession) => void
  readonly fail: (error: DatabaseError) => void
}

export class TarnPool extends knex.KnexPool<PooledSession> {
  readonly #size: number
  /**
   * In the order in which they asked. tarn's own queue takes two timers and eight promises for each, serves those first
   * whose connection gave no answer, and loses a connection that comes back while somebody leaves.
   */
  readonly #waiters = new LinkedList<Waiter>()
  /** Connections that are asked for a sign of life because somebody waits for them, and are not silent yet. */
  #validating = 0
  /**
   * How many connections may be opened at the same time. By the time the first are there, a short rush of statements is
   * over, and needs no more of them; if it is not, twice as many are opened next.
   */
  #maxParallelOpens = INITIAL_PARALLEL_OPENS
  /** How many of those are still to come before more are opened at the same time. */
  #opensBeforeDoubling = INITIAL_PARALLEL_OPENS
  /** Idle ones that are being asked for a sign of life. */
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
      // Our pool tells its waiters itself.
      propagateCreateError: false,
      log: () => undefined,
    })
    this.#size = options.size
  }

  /** True when whoever asks now has to wait, be it for a connection that is being opened. */
  get isBusy(): boolean {
    return this.free.length === 0 || this.hasWaiters
  }

  get hasWaiters(): boolean {
    return this.#waiters.size > 0
  }

  get idle(): readonly PooledSession[] {
    return this.free.map((resource) => resource.resource)
  }

  /** How many are idle, those included that are being asked for a sign of life. */
  get idleCount(): number {
    return this.free.length + this.#probing
  }

  get creating(): number {
    return this.pendingCreates.length
  }

  /** How many are open, or about to be. */
  get openCount(): number {
    return this.used.length + this.free.length + this.pendingCreates.length
  }

  /** Takes the connection that was used last, if nobody waits for one and it need not be asked for a sign of life. */
  tryTake(): PooledSession | null {
    const resource = this.free.at(-1)
    if (resource === undefined || this.hasWaiters || this.destroyed) return null
    if (!resource.resource.isFresh) return null
    this.free.pop()
    this.used.push(resource)
    return resource.resource
  }

  /**
   * Takes a connection, in the order asked: whichever comes first, one that comes back or one that was opened. One whose
   * limits run out leaves the queue, and never takes a connection with it.
   *
   * @throws what `limits` makes of its end, or what {@link failWaiters} was given
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

  failWaiters(error: DatabaseError): void {
    for (const { value } of this.#waiters.all()) value.fail(error)
  }

  /** Gives the next one who waits a connection, which counts as used already. */
  #serve(pooled: PooledSession): boolean {
    const next = this.#waiters.first
    next?.serve(pooled)
    return next !== undefined
  }

  /** True when a connection that comes back now is one too many, and nobody waits for it. */
  get hasExcess(): boolean {
    return this.used.length + this.free.length > this.#size && !this.hasWaiters
  }

  giveBack(pooled: PooledSession): void {
    if (this.hasExcess) this.retire(pooled)
    else if (this.destroyed) this.release(pooled)
    else if (this.#waiters.size === 0 || !pooled.isFresh || !this.#serve(pooled)) this.#putBack(pooled)
  }

  /** What tarn's release() does, for one that nobody takes at once. */
  #putBack(pooled: PooledSession): void {
    const at = this.used.findIndex((resource) => resource.resource === pooled)
    const [resource] = at < 0 ? [] : this.used.splice(at, 1)
    if (resource === undefined) return
    this.free.push(resource)
    this._tryAcquireOrCreate()
  }

  /** Closes a connection, be it out or idle. */
  retire(pooled: PooledSession): void {
    for (const list of [this.used, this.free]) {
      const at = list.findIndex((resource) => resource.resource === pooled)
      const [resource] = at < 0 ? [] : list.splice(at, 1)
      if (resource === undefined) continue
      resource.settle()
      void this._destroy(pooled)
    }
  }

  /** Asks an idle connection something, and closes it when the answer is no. Nobody can take it meanwhile. */
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
    // At the far end: it was not used, and the one is lent first that was used last.
    // Settled, since tarn's destroy() may be waiting for it to come back.
    this.free.unshift(resource.resolve())
    this._tryAcquireOrCreate()
  }

  /** Opens connections ahead of demand until there are `min`. */
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
    // tarn opens one for each who asks, and so none for those who still wait when one has been opened.
    while (this._shouldCreateMoreResources()) this._doCreate()
  }

  /** To whoever is first then, if it has to be asked for a sign of life. */
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
    // Whoever waits for it gets the next one that answers, or that is opened.
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

  // tarn counts a connection that is being closed as gone, and so exceeds its cap while closing is slow.
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
        // A server that is away is asked by one at a time.
        this.#maxParallelOpens = 1
        this.#opensBeforeDoubling = 1
      },
    )
    return opening
  }

  // … and since it is counted now, its end is the moment when a waiter may be served.
  override async _destroy(pooled: PooledSession): Promise<PooledSession | void> {
    const destroyed = await super._destroy(pooled)
    this._tryAcquireOrCreate()
    return destroyed
  }

  // tarn's own look at the idle ones is not needed: see housekeeper.ts.
  override _startReaping(): void {}
}
