/** The queue in front of the pool: bounds how long callers wait and how many do, and makes the errors of those who wait in vain. */
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
  /** Ends every wait. */
  readonly closed: Cancellation
  /** How many are out, and who has them. */
  used(this: void): number
  holders(this: void): readonly Holder[]
  /** When the database has last given a sign of life. */
  heardAt(this: void): number
  /** Why the last attempt to connect failed, if it did. */
  lastFailure(this: void): DatabaseError | undefined
}

export interface Admission<T> {
  readonly taken: T
  /** Lets the next writer in, where they queue. */
  readonly leave: Unlock | null
  readonly waitMillis: number
}

/** What a caller asks for. */
interface Admitted {
  readonly writes: boolean
  /** The caller had a connection already, which was lost. */
  readonly isReplacement?: boolean
  /** How long the caller waits at most. */
  readonly patienceMillis: number
}

export class AcquireQueue {
  readonly #context: AcquireQueueContext
  /** How many callers wait. */
  waiting = 0
  timedOut = 0
  /** How many callers write, or wait to write, where one at a time can. */
  #writers = 0

  constructor(context: AcquireQueueContext) {
    this.#context = context
  }

  /**
   * Waits for the turn to write, where there is such a thing, and for what `take` gives. Calls `enter` with it synchronously, so
   * that a caller is always counted as `waiting` or as `used`.
   *
   * @throws PoolTimeoutError when it takes longer than `patienceMillis`, or too many wait
   * @throws ConnectionError when it takes longer because the database is out of reach
   */
  async admit<T, R>(
    limits: Limits,
    { writes, isReplacement = false, patienceMillis }: Admitted,
    take: (bounded: Limits) => Promise<T>,
    enter: (admission: Admission<T>) => R,
  ): Promise<R> {
    const asked = performance.now()
    let turn: Promise<Unlock> | null = null
    let leave: Unlock | null = null
    const { dialect, closed } = this.#context
    const scope = currentScope()
    let timeout: DatabaseError | undefined
    const bounded = limits.within(patienceMillis, () => {
      timeout = acquireTimeoutError(this.#state(patienceMillis, turn !== null && leave === null))
      return timeout
    })
    bounded.check()
    if (!isReplacement) this.#refuseWhenCrowded(writes, scope)
    turn = writes && dialect.door !== null ? dialect.door.lock(bounded.and(Limits.until(closed))) : null
    this.waiting += 1
    if (turn !== null) this.#writers += 1
    try {
      leave = turn === null ? null : this.#leaving(await turn)
      const taken = await take(bounded)
      return enter({ taken, leave, waitMillis: performance.now() - asked })
    } catch (error) {
      // Whether by the pool's limit or by one of its own.
      if (error instanceof DatabaseError && (error === timeout || error instanceof QueryTimeoutError))
        this.#tellTimeout(error, scope)
      if (leave !== null) leave()
      else if (turn !== null) this.#writers -= 1
      throw closed.aborted ? closed.reason : error
    } finally {
      this.waiting -= 1
      const tally = currentScope()?.tally
      if (tally !== undefined) tally.waitMillis += performance.now() - asked
    }
  }

  #leaving(unlock: Unlock): Unlock {
    let hasLeft = false
    return () => {
      if (!hasLeft) this.#writers -= 1
      hasLeft = true
      unlock()
    }
  }

  #refuseWhenCrowded(writes: boolean, scope: Scope | undefined): void {
    const { used, settings } = this.#context
    const { size, maxOverflow, maxWaiters } = settings.pool
    if (maxWaiters === Infinity) return
    const isFull = used() + this.waiting >= size + maxOverflow + maxWaiters
    const isQueueFull = writes && this.#writers >= 1 + maxWaiters
    // A database that is away fills the queue as well, and is the reason then.
    const failure = this.#context.lastFailure()
    if (!isFull && !isQueueFull) return
    const error = failure ?? tooManyWaitersError(this.#state(0, false), maxWaiters)
    this.#tellTimeout(error, scope)
    throw error
  }

  #tellTimeout(error: DatabaseError, scope: Scope | undefined): void {
    this.timedOut += 1
    this.#context.events.tell('timeout', { error, label: scope?.label ?? null })
  }

  #state(waitMillis: number, awaitsTurn: boolean): PoolState {
    const { name, settings, holders, heardAt, lastFailure } = this.#context
    return {
      name,
      waitMillis,
      cap: settings.pool.size + settings.pool.maxOverflow,
      holders: holders(),
      others: Math.max(0, this.waiting - 1),
      awaitsTurn,
      silentMillis: performance.now() - heardAt(),
      lastFailure: lastFailure(),
    }
  }
}
