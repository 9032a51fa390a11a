/** tarn's pool with its gaps closed: a true cap, no storm of connects, connections retired on return, waiters that can leave. */
import knex from 'knex'
import type { PendingOperation } from 'tarn/dist/PendingOperation'
import { ConnectionError, type DatabaseError } from '../errors'
import type { Limits } from '../limits'
import type { Session } from './dialect'
import { LONGEST_TIMER_MILLIS } from '../when-past'

export interface TarnPoolOptions {
  /** Connections kept when they come back; the rest, up to `max`, are closed. */
  readonly size: number
  readonly max: number
  readonly longestWaitMillis: number
  create(this: void): Promise<Session>
  destroy(this: void, session: Session): Promise<void>
  /** Asked before each loan. */
  validate(this: void, session: Session): Promise<boolean>
}

/** Beyond every timeout that our own code sets: tarn's timers are only there as a backstop. */
const BACKSTOP_MILLIS = 10_000

/** Connections that are opened at the same time when waiters begin to queue. */
const FIRST_OPENING = 2

function backstop(millis: number): number {
  return Math.min(Math.ceil(millis) + BACKSTOP_MILLIS, LONGEST_TIMER_MILLIS)
}

export class TarnPool extends knex.KnexPool<Session> {
  readonly #size: number
  readonly #waiters = new Set<(error: DatabaseError) => void>()
  /**
   * How many connections may be opened at the same time. By the time the first are there, a short rush of statements is
   * over, and needs no more of them; if it is not, twice as many are opened next.
   */
  #opening = FIRST_OPENING
  /** How many of those are still to come before more are opened at the same time. */
  #toCome = FIRST_OPENING
  /** Idle ones that are being asked for a sign of life. */
  #probed = 0
  /** In which order they asked, and which of them have left while their connection was being asked. */
  readonly #places = new WeakMap<PendingOperation<Session>, number>()
  #lastPlace = 0
  readonly #left = new WeakSet<PendingOperation<Session>>()

  constructor(options: TarnPoolOptions) {
    super({
      min: 0,
      max: options.max,
      create: options.create,
      destroy: options.destroy,
      // tarn awaits the answer, whatever its types say (tarn/dist/Pool.js, _validateResource).
      validate: options.validate as unknown as (session: Session) => boolean,
      acquireTimeoutMillis: backstop(options.longestWaitMillis),
      createTimeoutMillis: backstop(options.longestWaitMillis),
      createRetryIntervalMillis: 50,
      // Our pool tells its waiters itself: tarn rejects the first one while it still stands in the queue, where a
      // connection that comes back in that moment is handed to it and lost.
      propagateCreateError: false,
      log: () => undefined,
    })
    this.#size = options.size
  }

  /** True when whoever asks now has to wait, be it for a connection that is being opened. */
  get isBusy(): boolean {
    return this.free.length === 0 || this.pendingAcquires.length > 0
  }

  get isWaitedFor(): boolean {
    return this.#waiters.size > 0
  }

  get idle(): readonly Session[] {
    return this.free.map((resource) => resource.resource)
  }

  /** How many are idle, those included that are being asked for a sign of life. */
  get idleCount(): number {
    return this.free.length + this.#probed
  }

  /** How many are open, or about to be. */
  get openCount(): number {
    return this.used.length + this.free.length + this.pendingCreates.length
  }

  /**
   * Takes a connection, in the order asked. One whose limits run out leaves the queue, and never takes a connection
   * with it.
   *
   * @throws what `limits` makes of its end, or what {@link failWaiters} was given
   */
  take(limits: Limits): Promise<Session> {
    const operation = this.acquire()
    this.#places.set(operation, (this.#lastPlace += 1))
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

  /**
   * Takes the connection that was used last, if nobody waits for one and it `isFit` without being asked. Past tarn's own
   * way, which makes two timers and eight promises of it.
   */
  takeNow(isFit: (session: Session) => boolean): Session | null {
    const resource = this.free.at(-1)
    if (resource === undefined || this.pendingAcquires.length > 0 || this.destroyed) return null
    if (!isFit(resource.resource)) return null
    this.free.pop()
    this.used.push(resource)
    return resource.resource
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
    if (at < 0) {
      this.#left.add(operation)
      return
    }
    this.pendingAcquires.splice(at, 1)
    operation.abort()
  }

  /** tarn puts those whose connection gave no answer in front of the queue, the last one first, be they there or not. */
  #tidy(): void {
    for (const operation of this.pendingAcquires.filter((each) => this.#left.has(each)))
      this.#leaveQueue(operation)
    const placeOf = (operation: PendingOperation<Session>): number => this.#places.get(operation) ?? 0
    this.pendingAcquires.sort((a, b) => placeOf(a) - placeOf(b))
  }

  override async _validateResource(session: Session): Promise<boolean> {
    const isFit = await super._validateResource(session)
    if (!isFit) {
      setImmediate(() => {
        this.#tidy()
      })
    }
    return isFit
  }

  /** True when a connection that comes back now is one too many, and nobody waits for it. */
  get hasExtra(): boolean {
    return this.used.length + this.free.length > this.#size && this.pendingAcquires.length === 0
  }

  giveBack(session: Session): void {
    if (this.hasExtra) this.retire(session)
    else if (this.pendingAcquires.length > 0 || this.destroyed || !this.#freeNow(session))
      this.release(session)
  }

  /** Nobody waits for it: tarn need not look for one who does. */
  #freeNow(session: Session): boolean {
    const { used } = this
    for (let at = 0; at < used.length; at += 1) {
      const resource = used[at]
      if (resource?.resource !== session) continue
      used.splice(at, 1)
      this.free.push(resource)
      return true
    }
    return false
  }

  /** Closes a connection, be it out or idle. */
  retire(session: Session): void {
    for (const list of [this.used, this.free]) {
      const at = list.findIndex((resource) => resource.resource === session)
      const [resource] = at < 0 ? [] : list.splice(at, 1)
      if (resource === undefined) continue
      resource.settle()
      void this._destroy(session)
    }
  }

  /** Asks an idle connection something, and closes it when the answer is no. Nobody can take it meanwhile. */
  async probe(session: Session, ask: () => Promise<boolean>): Promise<void> {
    const at = this.free.findIndex((resource) => resource.resource === session)
    const [resource] = at < 0 ? [] : this.free.splice(at, 1)
    if (resource === undefined) return
    this.used.push(resource)
    this.#probed += 1
    const isFit = await ask()
    this.#probed -= 1
    const still = this.used.indexOf(resource)
    if (still < 0) return
    if (!isFit) {
      this.retire(session)
      return
    }
    this.used.splice(still, 1)
    // At the far end: it was not used, and tarn lends the one first that was used last.
    // Settled, since tarn's destroy() may be waiting for it to come back.
    this.free.unshift(resource.resolve())
    this._tryAcquireOrCreate()
  }

  /** Opens connections ahead of demand until there are `min`. */
  openUpTo(min: number): void {
    while (
      this.openCount < min &&
      this.openCount + this.pendingDestroys.length < this.max &&
      this.pendingCreates.length < this.#opening &&
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
    this._doAcquire()
    // tarn opens one for each who asks, and so none for those who still wait when one has been opened.
    while (this._shouldCreateMoreResources()) this._doCreate()
  }

  // tarn counts a connection that is being closed as gone, and so exceeds its cap while closing is slow.
  override _shouldCreateMoreResources(): boolean {
    return (
      super._shouldCreateMoreResources() &&
      this.pendingCreates.length < this.#opening &&
      this.used.length + this.pendingCreates.length + this.pendingDestroys.length < this.max
    )
  }

  override _create(): PendingOperation<Session> {
    const opening = super._create()
    opening.promise.then(
      () => {
        this.#toCome -= 1
        if (this.pendingAcquires.length <= 1) this.#opening = FIRST_OPENING
        else if (this.#toCome <= 0) this.#opening *= 2
        else return
        this.#toCome = this.#opening
      },
      () => {
        // A server that is away is asked by one at a time.
        this.#opening = 1
        this.#toCome = 1
      },
    )
    return opening
  }

  // … and since it is counted now, its end is the moment when a waiter may be served.
  override async _destroy(session: Session): Promise<Session | void> {
    const destroyed = await super._destroy(session)
    this._tryAcquireOrCreate()
    return destroyed
  }

  // tarn's own look at the idle ones is not needed: see upkeep.ts.
  override _startReaping(): void {}
}
