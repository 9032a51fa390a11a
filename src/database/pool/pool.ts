/** The pool: lends sessions as leases, says who holds them, and closes when asked to. */
import { Canceller } from '../context/canceller'
import { type DatabaseError, type Holder, NotConnectedError } from '../errors'
import type { RetireEvent } from '../events'
import type { Limits } from '../context/limits'
import { currentScope, outsideOfScopes } from '../context/scope'
import { captureCallSite } from '../context/call-site'
import { Opener } from './opener'
import type { StatementErrorFactory } from './transaction-control'
import type { ConnectFailure } from '../driver/dialect'
import type { Session } from '../driver/session'
import type { Access } from '../driver/statement'
import { AcquireQueue } from './acquire-queue'
import { PooledSession } from './pooled-session'
import { LeakDetector } from './leak-detector'
import { Lease, type LeasePool, type Work } from './lease'
import { Leases } from './leases'
import { ObservedLease } from './observed-lease'
import type { Admission, LendOptions, PoolContext, PoolCore, PoolStats } from './pool-context'
import { ControlConnection } from './control-connection'
import { Listener } from './listener'
import { TarnPool } from './tarn-pool'
import { SessionReset } from './reset'
import { Housekeeper } from './housekeeper'
import { waitAtMost, LONGEST_TIMER_MILLIS } from '../context/timers'

/** How long closing connections may take once no lease is out. */
const CLOSE_TIMEOUT_MILLIS = 200
/** An answer that is no older says that the database is there. */
const JUST_NOW_MILLIS = 1000

export class Pool implements PoolCore, LeasePool {
  readonly context: PoolContext
  readonly closed = new Canceller(() => this.#closingError())
  readonly controlConnection = new ControlConnection(this)
  readonly listener = new Listener(this)
  readonly #acquireQueue = new AcquireQueue(this)
  readonly #reset = new SessionReset(this)
  readonly #leases = new Leases()
  /** Null if it is off. */
  readonly #leaks: LeakDetector | null
  readonly #opener: Opener
  readonly #tarn: TarnPool
  readonly #housekeeper: Housekeeper
  readonly #totals = { acquired: 0, waited: 0, retired: 0 }

  constructor(context: PoolContext) {
    this.context = context
    const { size, maxOverflow, acquireTimeoutMillis } = context.settings.pool
    const longestWaitMillis = Math.max(acquireTimeoutMillis, context.settings.connectTimeoutMillis)
    this.#leaks = LeakDetector.of(this)
    this.#opener = new Opener(this, Math.min(longestWaitMillis, LONGEST_TIMER_MILLIS))
    this.#tarn = new TarnPool({
      size,
      max: size + maxOverflow,
      longestWaitMillis,
      // Outside of the caller's scope: the connection outlives that scope's deadline.
      create: () => outsideOfScopes(() => this.#opener.create()),
      destroy: (pooled) => this.#destroy(pooled),
    })
    this.#housekeeper = new Housekeeper(this, this.#tarn)
  }

  get used(): number {
    return this.#leases.count
  }

  get heardAt(): number {
    return Math.max(this.#housekeeper.heardAt, this.#leases.heardAt)
  }

  get lastFailure(): DatabaseError | undefined {
    return this.#opener.lastFailure
  }

  /** Starts the housekeeper, which opens the connections of `pool.min`. */
  start(): void {
    this.#housekeeper.start()
  }

  /**
   * Runs work of one statement on a connection lent for it. A repeatable read that fails because its connection was lost runs
   * once more, on another connection: the loss may be older than the statement. So does a write that was refused because the
   * server has become read-only.
   */
  async use<T>(limits: Limits, access: Access, work: Work<T>, hasRepeated = false): Promise<T> {
    const writes = !access.isRead
    const lease = this.tryLend(limits, writes) ?? (await this.lend(limits, { writes }))
    lease.beginSection(null, limits)
    try {
      return await work(lease, limits)
    } catch (error) {
      const isRefused = lease.session.hasRefusedWrite === true && lease.answeredAt === null
      const mayRepeat = access.isRepeatable || isRefused
      if (!mayRepeat || hasRepeated || !lease.isLostBy(error)) throw error
    } finally {
      lease.endSection()
      if (!this.tryRelease(lease)) await this.release(lease)
    }
    return this.use(limits, access, work, true)
  }

  /**
   * Lends a connection, first come, first served. The caller gives the lease to {@link release}.
   *
   * @throws PoolTimeoutError when all connections are in use for the whole of the acquire timeout, or too many wait
   * @throws ConnectionError when the database cannot be reached within it, or refuses
   * @throws NotConnectedError when the pool is closing
   */
  lend(
    limits: Limits,
    { writes, waitMillis, isHeld = false, isInternal = false }: LendOptions,
  ): Promise<Lease> {
    if (this.closed.aborted) return Promise.reject(this.#closingError())
    const stack = this.#leaks !== null && !isInternal ? captureCallSite() : null
    const timeoutMillis = waitMillis ?? this.context.settings.pool.acquireTimeoutMillis
    const isBusy = this.#tarn.isBusy
    const take = (bounded: Limits): Promise<PooledSession> => this.#take(bounded, isBusy)
    const lent = this.#acquireQueue.acquire(limits, { writes, timeoutMillis }, take, (admission) =>
      this.#lendTaken(admission, stack, isHeld ? limits : null),
    )
    this.context.events.observer?.wait(lent)
    return lent
  }

  /** Lends a connection synchronously if the caller need not wait, which is the common case; else returns null. */
  tryLend(limits: Limits, writes: boolean, isHeld = false): Lease | null {
    if (this.closed.aborted) return null
    limits.check()
    const { dialect, settings } = this.context
    const mutex = writes ? dialect.writeMutex : null
    // Where `maxWaiters` is set, the acquire queue has to count every writer.
    const endWriteTurn = settings.pool.maxWaiters === Infinity ? (mutex?.tryLock() ?? null) : null
    if (mutex !== null && endWriteTurn === null) return null
    const taken = this.#tarn.tryTake()
    if (taken === null) {
      endWriteTurn?.()
      return null
    }
    const stack = this.#leaks === null ? null : captureCallSite()
    return this.#lendTaken({ taken, endWriteTurn, waitMillis: 0 }, stack, isHeld ? limits : null)
  }

  #take(limits: Limits, wasBusy: boolean): Promise<PooledSession> {
    this.refuseWhenClosing()
    if (wasBusy || this.#tarn.isBusy) this.#totals.waited += 1
    return this.#tarn.take(limits)
  }

  #lendTaken(
    { taken, endWriteTurn, waitMillis }: Admission,
    stack: Error | null,
    until: Limits | null,
  ): Lease {
    const lease = this.newLease(taken, stack)
    lease.endWriteTurn = endWriteTurn
    if (stack !== null) this.#leaks?.track(lease)
    this.#leases.add(lease)
    if (until !== null) this.#takeBackAtLimits(until, lease)
    this.#totals.acquired += 1
    taken.session.keepProcessAlive(true)
    const { events } = this.context
    if (events.listenerCount('acquire') > 0) events.tell('acquire', { waitMillis, label: lease.label })
    return lease
  }

  #takeBackAtLimits(until: Limits, lease: Lease): void {
    lease.until = until
    lease.stopWatching = until.watch((expiry) => {
      // A running statement is stopped first by its own limits, which make the more exact error.
      queueMicrotask(() => void this.release(lease, (_sql, cause) => until.error(expiry, cause)))
    })
  }

  /**
   * Takes a lease back, resets its session, and closes it if it is broken. With `makeError` the lease is taken from a
   * holder that has not given it back, and whose further statements fail with that error. Never throws.
   */
  async release(lease: Lease, makeError?: StatementErrorFactory): Promise<void> {
    if (makeError === undefined && this.tryRelease(lease)) return
    if (lease.entry?.isListed === true) await (lease.releasing ??= this.#takeBack(lease, makeError))
  }

  async #takeBack(lease: Lease, makeError: StatementErrorFactory | undefined): Promise<void> {
    const wasReported = this.#leaks?.untrack(lease) === true
    const { pooled } = lease
    const wasTaken = makeError !== undefined || lease.isEnded
    lease.end(makeError)
    if (makeError !== undefined) await lease.interrupt(makeError)
    const isClean = await this.#reset.clean(lease, wasTaken)
    // close() may have cut it off meanwhile.
    if (lease.entry?.isListed !== true) return
    this.#endLease(lease, wasReported && makeError === undefined)
    if (!isClean) this.retire(pooled, 'changed')
    else if (pooled.session.broken !== null || this.closed.aborted) this.retire(pooled, 'lost')
    else this.#tarn.giveBack(pooled)
  }

  /** Takes a lease back synchronously if its session needs no reset, which is the common case. Returns whether it did. */
  tryRelease(lease: Lease): boolean {
    const { pooled, session } = lease
    const needsNoReset =
      lease.isOut && !lease.isChanged && session.isClean && session.broken === null && !this.closed.aborted
    if (!needsNoReset) return false
    const wasReported = this.#leaks?.untrack(lease) === true
    lease.end()
    this.#endLease(lease, wasReported)
    this.#tarn.giveBack(pooled)
    return true
  }

  /** Ends a lease. `wasReported`: it was reported as a leak, and its holder has given it back after all. */
  #endLease(lease: Lease, wasReported: boolean): void {
    this.#leases.remove(lease)
    lease.session.keepProcessAlive(false)
    lease.pooled.markIdle(lease.answeredAt)
    const { events } = this.context
    if (events.listenerCount('release') > 0)
      events.tell('release', { heldMillis: performance.now() - lease.since, label: lease.label })
    if (wasReported) events.tell('leak', { state: 'returned', ...lease.describe() })
  }

  /** Gives a lease another connection for the one that it lost; null if the lease was released meanwhile. */
  async replaceConnection(lease: Lease, limits: Limits): Promise<PooledSession | null> {
    if (!lease.isOut) return null
    this.retire(lease.pooled, 'lost')
    const { acquireTimeoutMillis: timeoutMillis } = this.context.settings.pool
    const take = (bounded: Limits): Promise<PooledSession> => this.#take(bounded, false)
    lease.awaitsReplacement = true
    const request = { writes: false, isReplacement: true, timeoutMillis }
    return this.#acquireQueue.acquire(limits, request, take, ({ taken }) => {
      if (!lease.isOut) {
        this.#tarn.giveBack(taken)
        return null
      }
      lease.awaitsReplacement = false
      lease.pooled = taken
      taken.session.keepProcessAlive(true)
      return taken
    })
  }

  /** Returns the lease that has this driver's connection now. While that is reset, afterConnect has a lease of its own. */
  leaseOf(raw: object): Lease | undefined {
    return this.#reset.leaseInAfterConnect(raw) ?? this.#leases.byRaw(raw)
  }

  holders(): readonly Holder[] {
    return this.#leases.holders()
  }

  stats(): PoolStats {
    const { size, maxOverflow } = this.context.settings.pool
    const { waiting, timedOut } = this.#acquireQueue
    const { idleCount: idle, creating } = this.#tarn
    const { created } = this.#opener
    const { count: used } = this.#leases
    return { size, maxOverflow, used, idle, creating, waiting, timedOut, created, ...this.#totals }
  }

  /** Refuses new callers and rejects the waiting ones with `NotConnectedError`. */
  refuseCallers(): void {
    this.closed.abort()
    this.#tarn.failWaiters(this.#closingError())
  }

  /**
   * Closes every connection: the idle ones now, the others as their leases come back, and after the grace the rest by
   * force. Always resolves, and waits at most `closeMillis` for connections to be closed.
   *
   * @returns the holders that had to be cut off
   */
  async close(graceMillis: number, closeMillis = CLOSE_TIMEOUT_MILLIS): Promise<readonly Holder[]> {
    this.refuseCallers()
    this.#housekeeper.stop()
    await waitAtMost(Math.min(graceMillis, LONGEST_TIMER_MILLIS), this.#leases.allReturned())
    this.#leaks?.stop()
    const stuck = this.holders()
    const makeError: StatementErrorFactory = (_sql, cause) => this.#cutOffError(cause)
    await this.#leases.cutOff(closeMillis, makeError, (lease) => {
      this.context.events.tell('release', {
        heldMillis: performance.now() - lease.since,
        label: lease.label,
      })
      this.#tarn.retire(lease.pooled)
    })
    this.#opener.abortAll()
    // Bounded, since a connection that is being opened to a silent host takes long to close.
    const closing = [this.#tarn.destroy(), this.controlConnection.close(), this.listener.close()]
    await waitAtMost(closeMillis, Promise.all(closing))
    return stuck
  }

  suspectAll(): void {
    this.#housekeeper.suspectAll()
    this.listener.check()
  }

  async isAnswering(maxMillis: number): Promise<boolean> {
    const asked = performance.now()
    const [pooled] = this.#tarn.idle
    if (pooled === undefined) return asked - this.heardAt < JUST_NOW_MILLIS
    await waitAtMost(maxMillis, this.#tarn.probe(pooled))
    return this.heardAt >= asked
  }

  replaceAll(refused: PooledSession): boolean {
    return this.#housekeeper.expireAll(refused)
  }

  async admit(session: Session): Promise<PooledSession> {
    const pooled = new PooledSession(session, this.#housekeeper)
    await this.#reset.prepare(pooled)
    return pooled
  }

  /** A transient failure leaves the waiting callers in the queue until their time is up; any other rejects them. */
  connectFailed({ error, isTransient }: ConnectFailure, attempt: number): void {
    // An attempt that ends because the pool is closed says nothing about the database.
    if (!this.closed.aborted && (isTransient || !this.#tarn.hasWaiters))
      this.context.events.tell('connectRetry', { attempt, error })
    if (!isTransient) this.#tarn.failWaiters(error)
  }

  retire(pooled: PooledSession, reason: RetireEvent['reason']): void {
    pooled.retireReason = reason
    this.#tarn.retire(pooled)
  }

  async #destroy({ session, retireReason, isExpired }: PooledSession): Promise<void> {
    const ownReason = this.closed.aborted ? 'closed' : session.broken !== null ? 'lost' : retireReason
    this.#totals.retired += 1
    this.context.events.tell('retire', { reason: ownReason ?? (isExpired ? 'old' : 'extra') })
    await session.close()
  }

  newLease(pooled: PooledSession, stack: Error | null = null): Lease {
    const { observer } = this.context.events
    return observer === undefined
      ? new Lease(pooled, this, currentScope(), stack)
      : new ObservedLease(observer, pooled, this, currentScope(), stack)
  }

  refuseWhenClosing(): void {
    if (this.closed.aborted) throw this.#closingError()
  }

  #cutOffError(cause: unknown): NotConnectedError {
    return new NotConnectedError(
      `Database '${this.context.name}' was disconnected: what had not ended within the grace was cancelled, and open ` +
        'transactions were rolled back.',
      { cause },
    )
  }

  #closingError(): NotConnectedError {
    return new NotConnectedError(`Database '${this.context.name}' is disconnecting and takes no new work.`)
  }
}
