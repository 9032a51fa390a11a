/** The queue in front of the pool: bounds how long callers wait, and how many of them. */
import type { Cancellation } from '../context/canceller'
import { DatabaseError, type Holder, QueryTimeoutError } from '../errors'
import type { Events } from '../events'
import { Limits } from '../context/limits'
import type { Unlock } from '../context/mutex'
import type { Settings } from '../options'
import { currentScope, type Scope } from '../context/scope'
import type { Dialect } from '../driver/dialect'
import { tooManyWaitersError, acquireTimeoutError, type PoolState } from './acquire-errors'

export interface AcquireQueueContext {
  readonly name: string
  readonly dialect: Dialect
  readonly settings: Settings
  readonly events: Events
  /** Aborted when the pool closes, which ends every wait. */
  readonly closed: Cancellation
  /** How many connections are lent. */
  used(this: void): number
  holders(this: void): readonly Holder[]
  /** When the database last answered, on the clock of performance.now(). */
  heardAt(this: void): number
  /** The error of the last attempt to connect; undefined if it succeeded. */
  lastFailure(this: void): DatabaseError | undefined
}

/** What a caller has got from the queue. */
export interface Admission<T> {
  readonly taken: T
  /** Lets the next writer take a connection; null unless the database takes one writer at a time. */
  readonly endWriteTurn: Unlock | null
  readonly waitMillis: number
}

interface AcquireRequest {
  readonly writes: boolean
  /** The caller holds a lease whose connection was lost: `maxWaiters` does not count. */
  readonly isReplacement?: boolean
  readonly timeoutMillis: number
}

export class AcquireQueue {
  readonly #context: AcquireQueueContext
  /** Callers that wait now. */
  waiting = 0
  /** Callers that got an error instead of a connection, since the pool was made. */
  timedOut = 0
  /** Callers that write or wait to write, where the database takes one writer at a time. */
  #writers = 0

  constructor(context: AcquireQueueContext) {
    this.#context = context
  }

  /**
   * Waits for the turn to write, where the database takes one writer at a time, and then for `take`. Calls `lend` in the
   * same synchronous step, so that a caller is always counted as `waiting` or as `used`.
   *
   * @throws PoolTimeoutError when it takes longer than `timeoutMillis`, or too many callers wait
   * @throws ConnectionError when it takes longer because the database is out of reach
   */
  async acquire<T, R>(
    limits: Limits,
    { writes, isReplacement = false, timeoutMillis }: AcquireRequest,
    take: (bounded: Limits) => Promise<T>,
    lend: (admission: Admission<T>) => R,
  ): Promise<R> {
    const started = performance.now()
    let turn: Promise<Unlock> | null = null
    let endWriteTurn: Unlock | null = null
    const { dialect, closed } = this.#context
    const scope = currentScope()
    let timeout: DatabaseError | undefined
    const bounded = limits.within(timeoutMillis, () => {
      timeout = acquireTimeoutError(this.#state(timeoutMillis, turn !== null && endWriteTurn === null))
      return timeout
    })
    bounded.check()
    if (!isReplacement) this.#refuseWhenFull(writes, scope)
    turn =
      writes && dialect.writeMutex !== null
        ? dialect.writeMutex.lock(bounded.and(Limits.until(closed)))
        : null
    this.waiting += 1
    if (turn !== null) this.#writers += 1
    try {
      endWriteTurn = turn === null ? null : this.#countedUnlock(await turn)
      const taken = await take(bounded)
      return lend({ taken, endWriteTurn, waitMillis: performance.now() - started })
    } catch (error) {
      // The time of the pool is up, or that of the call.
      if (error instanceof DatabaseError && (error === timeout || error instanceof QueryTimeoutError))
        this.#reportTimeout(error, scope)
      if (endWriteTurn !== null) endWriteTurn()
      else if (turn !== null) this.#writers -= 1
      throw closed.aborted ? closed.reason : error
    } finally {
      this.waiting -= 1
      const tally = currentScope()?.tally
      if (tally !== undefined) tally.waitMillis += performance.now() - started
    }
  }

  /** Returns an unlock that also takes the caller off the count of writers, once. */
  #countedUnlock(unlock: Unlock): Unlock {
    let isUnlocked = false
    return () => {
      if (!isUnlocked) this.#writers -= 1
      isUnlocked = true
      unlock()
    }
  }

  #refuseWhenFull(writes: boolean, scope: Scope | undefined): void {
    const { used, settings } = this.#context
    const { size, maxOverflow, maxWaiters } = settings.pool
    if (maxWaiters === Infinity) return
    const isFull = used() + this.waiting >= size + maxOverflow + maxWaiters
    const isQueueFull = writes && this.#writers >= 1 + maxWaiters
    // If the database is out of reach, that is why the queue is full, and that error says more.
    const failure = this.#context.lastFailure()
    if (!isFull && !isQueueFull) return
    const error = failure ?? tooManyWaitersError(this.#state(0, false), maxWaiters)
    this.#reportTimeout(error, scope)
    throw error
  }

  #reportTimeout(error: DatabaseError, scope: Scope | undefined): void {
    this.timedOut += 1
    this.#context.events.tell('timeout', { error, label: scope?.label ?? null })
  }

  #state(timeoutMillis: number, waitsToWrite: boolean): PoolState {
    const { name, settings, holders, heardAt, lastFailure } = this.#context
    return {
      name,
      timeoutMillis,
      maxConnections: settings.pool.size + settings.pool.maxOverflow,
      holders: holders(),
      otherWaiters: Math.max(0, this.waiting - 1),
      waitsToWrite,
      silentMillis: performance.now() - heardAt(),
      lastFailure: lastFailure(),
    }
  }
}
