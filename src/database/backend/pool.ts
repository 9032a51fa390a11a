/** The pool: lends sessions as leases, says who holds them, and closes when asked to. */
import { type DatabaseError, type Holder, NotConnectedError } from '../errors'
import type { RetireEvent } from '../events'
import type { Limits } from '../limits'
import { currentScope, outsideOfScopes } from '../scope'
import { here } from '../site'
import { Connector } from './connector'
import type { ConnectFailure, Outcome, Session } from './dialect'
import { type Admission, Entrance } from './entrance'
import { Fitness } from './fitness'
import { LeakWatch, takenBack } from './leak-watch'
import { Lease } from './lease'
import { Loans } from './loans'
import type { LendOptions, PoolContext } from './pool-context'
import type { PoolStats } from './pool-stats'
import { SideLane } from './side-lane'
import { TarnPool } from './tarn-pool'
import { Turnover } from './turnover'
import { Upkeep } from './upkeep'
import { within } from './within'
import { LONGEST_TIMER_MILLIS } from '../when-past'

/** How long closing may take once nobody holds a connection any more. */
const CLOSE_PATIENCE_MILLIS = 200

export class Pool {
  readonly #context: PoolContext
  readonly #entrance: Entrance
  readonly #connector: Connector
  readonly #fitness: Fitness
  readonly #turnover: Turnover
  readonly #sideLane: SideLane
  readonly #tarn: TarnPool
  readonly #upkeep: Upkeep
  readonly #leaks: LeakWatch
  readonly #loans = new Loans()
  readonly #byRaw = new WeakMap<object, Lease>()
  readonly #reasons = new WeakMap<Session, RetireEvent['reason']>()
  readonly #total = { acquired: 0, waited: 0, retired: 0 }
  readonly #closed = new AbortController()

  constructor(context: PoolContext) {
    this.#context = context
    const { dialect, settings, events, open, prepare, translateConnect } = context
    const { size, maxOverflow, acquireTimeoutMillis, min } = settings.pool
    this.#fitness = new Fitness(settings.pool)
    const leaseOf = (session: Session): Lease => this.#lease(session, null)
    this.#turnover = new Turnover({ dialect, events, prepare, leaseOf })
    const longestWaitMillis = Math.max(acquireTimeoutMillis, settings.connectTimeoutMillis)
    this.#connector = new Connector({
      patienceMillis: Math.min(longestWaitMillis, LONGEST_TIMER_MILLIS),
      open,
      prepare: (session) => this.#turnover.prepare(session),
      translateConnect,
      opened: (session, durationMillis) => {
        this.#opened(session, durationMillis)
      },
      failed: (failure, attempt) => {
        this.#connectFailed(failure, attempt)
      },
    })
    this.#sideLane = new SideLane(open, translateConnect)
    this.#tarn = new TarnPool({
      size,
      max: size + maxOverflow,
      longestWaitMillis,
      // Outside of the scope of whoever happens to ask first: its deadline is not that of the connection.
      create: () => outsideOfScopes(() => this.#connector.create()),
      destroy: (session) => this.#destroy(session),
      isFresh: (session) => this.#fitness.isFresh(session),
      validate: (session) => this.#fitness.canBeLent(session),
    })
    this.#entrance = new Entrance({
      ...context,
      closed: this.#closed.signal,
      used: () => this.#loans.count,
      holders: () => this.holders(),
      heardAt: () => Math.max(this.#fitness.heardAt, this.#loans.heardAt),
      lastFailure: () => this.#connector.lastFailure,
    })
    this.#upkeep = new Upkeep(this.#tarn, this.#fitness, min, this.#retire.bind(this))
    const { leakThresholdMillis, leakTimeoutMillis } = settings.pool
    this.#leaks = new LeakWatch({
      thresholdMillis: leakThresholdMillis,
      timeoutMillis: leakTimeoutMillis,
      found: (lease, state) => {
        events.tell('leak', { state, ...lease.describe() })
        if (state === 'reclaimed') void this.release(lease, () => takenBack(leakTimeoutMillis))
      },
    })
  }

  /** Begins to look after idle connections, and opens those of `pool.min`. */
  start(): void {
    this.#upkeep.start()
  }

  /**
   * Lends a connection, in the order asked. Whoever gets it gives it to {@link release}.
   *
   * @throws PoolTimeoutError when all connections are in use for the whole of the acquire timeout, or too many wait
   * @throws ConnectionError when the database cannot be reached within it, or refuses
   * @throws NotConnectedError when the pool is closing
   */
  async lend(limits: Limits, { writes, waitMillis, isOurs = false }: LendOptions): Promise<Lease> {
    this.#refuseWhenClosing()
    const stack = this.#leaks.isOn && !isOurs ? here() : null
    const patience = waitMillis ?? this.#context.settings.pool.acquireTimeoutMillis
    const isBusy = this.#tarn.isBusy
    const take = (bounded: Limits): Promise<Session> => this.#take(bounded, isBusy)
    try {
      return await this.#entrance.admit(limits, writes, patience, take, (admission) =>
        this.#enter(admission, stack),
      )
    } catch (error) {
      this.#refuseWhenClosing()
      throw error
    }
  }

  /** The same for one who would not have to wait for anything, which is the common case; else null. */
  lendNow(limits: Limits, writes: boolean): Lease | null {
    if (this.#closed.signal.aborted) return null
    limits.check()
    const { dialect, settings } = this.#context
    const door = writes ? dialect.door : null
    // Where those who wait are counted, the entrance has to see every one.
    const leave = settings.pool.maxWaiters === Infinity ? (door?.tryLock() ?? null) : null
    if (door !== null && leave === null) return null
    const taken = this.#tarn.takeNow()
    if (taken === null) {
      leave?.()
      return null
    }
    return this.#enter({ taken, leave, waitMillis: 0 }, this.#leaks.isOn ? here() : null)
  }

  #take(limits: Limits, wasBusy: boolean): Promise<Session> {
    this.#refuseWhenClosing()
    if (wasBusy || this.#tarn.isBusy) this.#total.waited += 1
    return this.#tarn.take(limits)
  }

  #enter({ taken, leave, waitMillis }: Admission<Session>, stack: Error | null): Lease {
    const lease = this.#lease(taken, stack)
    this.#loans.add({ lease, leaveQueue: leave, isEnding: false })
    this.#total.acquired += 1
    if (stack !== null) this.#leaks.lent(lease)
    taken.hold(true)
    const { events } = this.#context
    if (events.isHeard('acquire')) events.tell('acquire', { waitMillis, label: lease.label })
    return lease
  }

  /**
   * Takes a connection back: cleaned of what its user has left, closed if it is broken. With `why` it is taken from a user
   * who has not given it back, and who is told that. Never throws.
   */
  async release(lease: Lease, why?: () => DatabaseError): Promise<void> {
    if (why === undefined && this.releaseNow(lease)) return
    const loan = this.#loans.of(lease)
    if (loan === undefined || loan.isEnding) return
    loan.isEnding = true
    const wasReported = this.#leaks.returned(lease)
    const { session } = lease
    const { heldMillis, label } = lease
    const holder = wasReported ? lease.describe() : null
    lease.end(why)
    if (why !== undefined) await lease.interrupt()
    const isClean = await this.#turnover.clean(lease)
    // Cut off by close() meanwhile.
    if (this.#loans.of(lease) === undefined) return
    this.#loans.remove(loan)
    session.hold(false)
    this.#fitness.rests(session, lease.answeredAt)
    const { events } = this.#context
    events.tell('release', { heldMillis, label })
    if (holder !== null && why === undefined) events.tell('leak', { state: 'returned', ...holder })
    if (!isClean) this.#retire(session, 'changed')
    else if (session.broken !== null || this.#closed.signal.aborted) this.#retire(session, 'lost')
    else this.#tarn.giveBack(session)
  }

  /** The same for one that has left nothing to be cleaned, which is the common case. Returns whether it is done. */
  releaseNow(lease: Lease): boolean {
    const { session } = lease
    const loan = this.#loans.of(lease)
    const isPlain =
      loan?.isEnding === false &&
      !lease.isChanged &&
      session.isClean &&
      session.broken === null &&
      !this.#closed.signal.aborted
    if (!isPlain) return false
    const wasReported = this.#leaks.returned(lease)
    lease.end()
    this.#loans.remove(loan)
    session.hold(false)
    this.#fitness.rests(session, lease.answeredAt)
    const { events } = this.#context
    if (events.isHeard('release')) {
      events.tell('release', { heldMillis: lease.heldMillis, label: lease.label })
    }
    if (wasReported) events.tell('leak', { state: 'returned', ...lease.describe() })
    this.#tarn.giveBack(session)
    return true
  }

  /** The lease under which a raw connection is out now. */
  leaseOf(raw: object): Lease | undefined {
    return this.#byRaw.get(raw)
  }

  holders(): readonly Holder[] {
    return this.#loans.holders()
  }

  stats(): PoolStats {
    const { size, maxOverflow } = this.#context.settings.pool
    return {
      size,
      maxOverflow,
      used: this.#loans.count,
      idle: this.#tarn.idleCount,
      creating: this.#tarn.numPendingCreates(),
      waiting: this.#entrance.waiting,
      timedOut: this.#entrance.timedOut,
      created: this.#connector.created,
      ...this.#total,
    }
  }

  /**
   * Asks the server for a sign of life, over a connection of its own: a full pool does not make it wait.
   *
   * @throws what `limits` makes of its end, or ConnectionError with the reason
   */
  async ping(limits: Limits): Promise<void> {
    this.#refuseWhenClosing()
    // A database that is its one connection is there as long as that is.
    if (this.#context.dialect.isSingle) return
    await this.#sideLane.ask(limits, (session) => session.ping())
  }

  /** What became of a transaction whose connection was lost. */
  async outcomeOf(transactionId: string, limits: Limits): Promise<Outcome> {
    this.#refuseWhenClosing()
    return this.#sideLane.outcomeOf(transactionId, limits)
  }

  /** Lends nothing any more, and sends away those who wait. */
  refuse(): void {
    this.#closed.abort()
    this.#tarn.failWaiters(this.#closingError())
  }

  /**
   * Closes every connection: the idle ones now, the others as they come back, and what is still out after the
   * grace by force. Always resolves, and waits no longer than `patienceMillis` for connections to be closed.
   *
   * @returns who had to be cut off
   */
  async close(graceMillis: number, patienceMillis = CLOSE_PATIENCE_MILLIS): Promise<readonly Holder[]> {
    this.refuse()
    this.#upkeep.stop()
    await within(Math.min(graceMillis, LONGEST_TIMER_MILLIS), this.#loans.none())
    this.#leaks.stop()
    const stuck = this.holders()
    // A server notices that a connection is gone when it has something to say to it: a long statement is cancelled.
    const interrupted = this.#loans.all().map(({ lease }) => lease.interrupt())
    await within(patienceMillis, Promise.all(interrupted))
    for (const loan of this.#loans.all()) {
      const { heldMillis, label } = loan.lease
      this.#context.events.tell('release', { heldMillis, label })
      loan.lease.destroy()
      loan.lease.end(() => this.#closingError())
      this.#loans.remove(loan)
      this.#tarn.retire(loan.lease.session)
    }
    this.#connector.abandon()
    // Bounded, since a connection that is just being opened to a host that does not answer takes its time.
    await within(patienceMillis, Promise.all([this.#tarn.destroy(), this.#sideLane.close()]))
    return stuck
  }

  #opened(session: Session, durationMillis: number): void {
    this.#fitness.isNew(session)
    session.whenLost(() => {
      this.#fitness.doubtAll()
      if (!this.#closed.signal.aborted) this.#upkeep.tend()
    })
    this.#context.events.tell('create', { durationMillis })
  }

  /** A failure that may pass leaves the waiters where they are, until their time is up; any other ends their wait. */
  #connectFailed({ error, isTransient }: ConnectFailure, attempt: number): void {
    if (isTransient || !this.#tarn.isWaitedFor) this.#context.events.tell('connectRetry', { attempt, error })
    if (!isTransient) this.#tarn.failWaiters(error)
  }

  #retire(session: Session, reason: RetireEvent['reason']): void {
    this.#reasons.set(session, reason)
    this.#tarn.retire(session)
  }

  async #destroy(session: Session): Promise<void> {
    this.#total.retired += 1
    this.#context.events.tell('retire', { reason: this.#whyRetired(session) })
    await session.close()
  }

  #whyRetired(session: Session): RetireEvent['reason'] {
    if (this.#closed.signal.aborted) return 'closed'
    if (session.broken !== null) return 'lost'
    return this.#reasons.get(session) ?? (this.#fitness.isOld(session) ? 'old' : 'extra')
  }

  #lease(session: Session, stack: Error | null): Lease {
    const { dialect, events, settings } = this.#context
    const { statementTimeoutMillis } = settings
    const lease = new Lease(session, {
      dialect,
      events,
      statementTimeoutMillis,
      scope: currentScope(),
      stack,
    })
    this.#byRaw.set(session.raw, lease)
    return lease
  }

  #refuseWhenClosing(): void {
    if (this.#closed.signal.aborted) throw this.#closingError()
  }

  #closingError(): NotConnectedError {
    return new NotConnectedError(`Database '${this.#context.name}' is disconnecting and takes no new work.`)
  }
}
