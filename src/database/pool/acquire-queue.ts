/** The queue in front of the pool: bounds how long callers wait, and how many of them. */
import { DatabaseError, QueryTimeoutError } from '../errors'
import { Limits } from '../context/limits'
import type { Unlock } from '../context/mutex'
import { currentScope, type Scope } from '../context/scope'
import { tooManyWaitersError, acquireTimeoutError, type PoolState } from './acquire-errors'
import type { Admission, PoolCore } from './pool-context'
import type { PooledSession } from './pooled-session'

interface AcquireRequest {
  readonly writes: boolean
  /** The caller holds a lease whose connection was lost: `maxWaiters` does not count. */
  readonly isReplacement?: boolean
  readonly timeoutMillis: number
}

export class AcquireQueue {
  readonly #pool: PoolCore
  /** Callers that wait now. */
  waiting = 0
  /** Callers that got an error instead of a connection, since the pool was made. */
  timedOut = 0
  /** Callers that write or wait to write, where the database takes one writer at a time. */
  #writers = 0

  constructor(pool: PoolCore) {
    this.#pool = pool
  }

  /**
   * Waits for the turn to write, where the database takes one writer at a time, and then for `take`. Calls `lend` in the
   * same synchronous step, so that a caller is always counted as `waiting` or as `used`.
   *
   * @throws PoolTimeoutError when it takes longer than `timeoutMillis`, or too many callers wait
   * @throws ConnectionError when it takes longer because the database is out of reach
   */
  async acquire<R>(
    limits: Limits,
    { writes, isReplacement = false, timeoutMillis }: AcquireRequest,
    take: (bounded: Limits) => Promise<PooledSession>,
    lend: (admission: Admission) => R,
  ): Promise<R> {
    const started = performance.now()
    let turn: Promise<Unlock> | null = null
    let endWriteTurn: Unlock | null = null
    const { closed, context } = this.#pool
    const { writeMutex } = context.dialect
    const scope = currentScope()
    let timeout: DatabaseError | undefined
    const bounded = limits.within(timeoutMillis, () => {
      timeout = acquireTimeoutError(this.#state(timeoutMillis, turn !== null && endWriteTurn === null))
      return timeout
    })
    bounded.check()
    if (!isReplacement) this.#refuseWhenFull(writes, scope)
    if (writes && writeMutex !== null) turn = writeMutex.lock(bounded.and(Limits.until(closed)))
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
    const { used, context, lastFailure } = this.#pool
    const { size, maxOverflow, maxWaiters } = context.settings.pool
    if (maxWaiters === Infinity) return
    const isFull = used + this.waiting >= size + maxOverflow + maxWaiters
    const isQueueFull = writes && this.#writers >= 1 + maxWaiters
    if (!isFull && !isQueueFull) return
    // If the database is out of reach, that is why the queue is full, and that error says more.
    const error = lastFailure ?? tooManyWaitersError(this.#state(0, false), maxWaiters)
    this.#reportTimeout(error, scope)
    throw error
  }

  #reportTimeout(error: DatabaseError, scope: Scope | undefined): void {
    this.timedOut += 1
    this.#pool.context.events.tell('timeout', { error, label: scope?.label ?? null })
  }

  #state(timeoutMillis: number, waitsToWrite: boolean): PoolState {
    const { context, heardAt, lastFailure } = this.#pool
    const { name, settings } = context
    return {
      name,
      timeoutMillis,
      maxConnections: settings.pool.size + settings.pool.maxOverflow,
      holders: this.#pool.holders(),
      otherWaiters: Math.max(0, this.waiting - 1),
      waitsToWrite,
      silentMillis: performance.now() - heardAt,
      lastFailure,
    }
  }
}
