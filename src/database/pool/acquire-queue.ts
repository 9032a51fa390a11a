/** The queue in front of the pool: bounds how long callers wait, and how many of them. */
import { ConnectionError, type Holder, PoolTimeoutError, DatabaseError, QueryTimeoutError } from '../errors'
import { Limits } from '../context/limits'
import type { Unlock } from '../context/mutex'
import { currentScope, type Scope } from '../context/scope'
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
      timeout = this.#timeoutError(timeoutMillis, turn !== null && endWriteTurn === null)
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
      // The time of the pool is up, or that of the call, or there is no use in waiting, such as after a refused log-in.
      const isRefused = error instanceof ConnectionError && !closed.aborted
      if (
        error instanceof DatabaseError &&
        (error === timeout || error instanceof QueryTimeoutError || isRefused)
      )
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
    const error = lastFailure ?? this.#tooManyWaitersError(maxWaiters)
    this.#reportTimeout(error, scope)
    throw error
  }

  #reportTimeout(error: DatabaseError, scope: Scope | undefined): void {
    this.timedOut += 1
    this.#pool.context.events.tell('timeout', { error, label: scope?.label ?? null })
  }

  /** Returns the error for a caller whose acquire timeout has passed: it tells a full pool from a database out of reach. */
  #timeoutError(timeoutMillis: number, waitsToWrite: boolean): DatabaseError {
    const { context, heardAt, lastFailure } = this.#pool
    const { name, settings } = context
    if (lastFailure !== undefined) return lastFailure
    const holders = this.#pool.holders()
    const maxConnections = settings.pool.size + settings.pool.maxOverflow
    const canOpenMore = !waitsToWrite && holders.length < maxConnections
    // If the database has answered lately, other callers are the reason, even if more connections could be opened.
    if (canOpenMore && performance.now() - heardAt >= timeoutMillis / 2) {
      return new ConnectionError(
        `Database '${name}' gave no working connection within ${timeoutMillis} ms. The pool is not full: the server does ` +
          'not answer. Check its address and that it is running.',
      )
    }
    const otherWaiters = Math.max(0, this.waiting - 1)
    if (waitsToWrite && holders.length === 0) {
      return new PoolTimeoutError(
        `No turn to write to database '${name}' came within ${timeoutMillis} ms: another Database of this process, on the ` +
          'same file, has been writing all the time.',
        holders,
        otherWaiters,
      )
    }
    const slowly = canOpenMore ? ' More are being opened, but not as fast as they are asked for.' : ''
    return new PoolTimeoutError(
      `No connection to database '${name}' became free within ${timeoutMillis} ms: ${holders.length} of ${maxConnections} are in use ` +
        `and ${otherWaiters} others wait.${slowly} The database may be quite well; the connections are held by:\n` +
        `${listHolders(holders)}\n` +
        'Look for slow queries and forgotten transactions among them first; then raise pool.size or maxOverflow.',
      holders,
      otherWaiters,
    )
  }

  /** Returns the error for a caller that is refused at once, since `maxWaiters` callers wait already. */
  #tooManyWaitersError(maxWaiters: number): PoolTimeoutError {
    const holders = this.#pool.holders()
    const waiting = Math.max(1, this.waiting)
    return new PoolTimeoutError(
      `${waiting} wait for database '${this.#pool.context.name}' already, and pool.maxWaiters is ${maxWaiters}. The connections ` +
        `are held by:\n${listHolders(holders)}\nAsk again a little later.`,
      holders,
      waiting,
    )
  }
}

function listHolders(holders: readonly Holder[]): string {
  if (holders.length === 0) return '  nobody at this moment'
  return holders
    .map(({ label, site, heldMillis, sql, inTransaction }, index) => {
      const what = sql ?? (inTransaction ? 'nothing, in an open transaction' : 'nothing')
      const where = site === null ? '' : `, taken ${site}`
      return `  ${index + 1}. ${label ?? '(no label)'}, for ${Math.round(heldMillis)} ms, running ${what}${where}`
    })
    .join('\n')
}
