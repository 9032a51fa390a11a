/** The pool: lends sessions as leases, says who holds them, and closes when asked to. */
import { Canceller } from '../cancellation'
import { type Holder, NotConnectedError } from '../errors'
import type { RetireEvent } from '../events'
import type { Limits } from '../limits'
import { currentScope, outsideOfScopes } from '../scope'
import { here } from '../site'
import { Connector } from './connector'
import type { Why } from './control'
import type { ConnectFailure, Session } from './dialect'
import { type Admission, Entrance } from './entrance'
import { Fitness } from './fitness'
import { LeakWatch } from './leak-watch'
import { Lease } from './lease'
import type { LeaseContext } from './lease-context'
import { Loan, Loans } from './loans'
import type { LendOptions, PoolContext } from './pool-context'
import type { PoolStats } from './pool-stats'
import { Retirement } from './retirement'
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
  readonly #leaseContext: LeaseContext
  readonly #entrance: Entrance
  readonly #connector: Connector
  readonly #fitness: Fitness
  readonly #turnover: Turnover
  /** Beside the pool, so that a full one makes nobody wait. */
  readonly sideLane: SideLane
  readonly #tarn: TarnPool
  readonly #upkeep: Upkeep
  readonly #leaks: LeakWatch
  readonly #loans = new Loans()
  readonly #byRaw = new WeakMap<object, Lease>()
  readonly #retirement: Retirement
  readonly #total = { acquired: 0, waited: 0 }
  readonly #closed = new Canceller(() => this.#closingError())

  constructor(context: PoolContext) {
    this.#context = context
    const { dialect, settings, events, open, prepare, translateConnect } = context
    const { size, maxOverflow, acquireTimeoutMillis, min } = settings.pool
    const { statementTimeoutMillis } = settings
    const exchange = this.#exchange.bind(this)
    const silent = (): void => this.#upkeep.doubtAll()
    this.#leaseContext = { dialect, events, statementTimeoutMillis, silent, exchange }
    const askDoubted = (): void => this.#upkeep.askDoubted()
    this.#fitness = new Fitness(settings.pool, askDoubted)
    this.#retirement = new Retirement(this.#fitness, events, this.#closed)
    const leaseOf = (session: Session): Lease => this.#lease(session, null)
    this.#turnover = new Turnover({ dialect, events, silent, prepare, leaseOf })
    const longestWaitMillis = Math.max(acquireTimeoutMillis, settings.connectTimeoutMillis)
    this.#connector = new Connector({
      patienceMillis: Math.min(longestWaitMillis, LONGEST_TIMER_MILLIS),
      open,
      prepare: (session) => this.#turnover.prepare(session),
      translateConnect,
      opened: this.#opened.bind(this),
      failed: this.#connectFailed.bind(this),
    })
    const refuseWhenClosing = this.#refuseWhenClosing.bind(this)
    this.sideLane = new SideLane({ ...context, isSingle: dialect.isSingle, refuseWhenClosing })
    this.#tarn = new TarnPool({
      size,
      max: size + maxOverflow,
      longestWaitMillis,
      // Outside of the scope of whoever happens to ask first: its deadline is not that of the connection.
      create: () => outsideOfScopes(() => this.#connector.create()),
      destroy: (session) => this.#retirement.end(session),
      isFresh: (session) => this.#fitness.isFresh(session),
      validate: (session, silent) => this.#fitness.canBeLent(session, silent),
    })
    this.#entrance = new Entrance({
      ...context,
      closed: this.#closed,
      used: () => this.#loans.count,
      holders: () => this.holders(),
      heardAt: () => Math.max(this.#fitness.heardAt, this.#loans.heardAt),
      lastFailure: () => this.#connector.lastFailure,
    })
    this.#upkeep = new Upkeep(this.#tarn, this.#fitness, min, this.#retire.bind(this))
    this.#leaks = new LeakWatch(settings.pool, events, (lease, why) => this.release(lease, why))
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
  lend(limits: Limits, { writes, waitMillis, isHeld = false, isOurs = false }: LendOptions): Promise<Lease> {
    if (this.#closed.aborted) return Promise.reject(this.#closingError())
    const stack = this.#leaks.isOn && !isOurs ? here() : null
    const patienceMillis = waitMillis ?? this.#context.settings.pool.acquireTimeoutMillis
    const isBusy = this.#tarn.isBusy
    const take = (bounded: Limits): Promise<Session> => this.#take(bounded, isBusy)
    return this.#entrance.admit(limits, { writes, patienceMillis }, take, (admission) =>
      this.#enter(admission, stack, isHeld ? limits : null),
    )
  }

  /** The same for one who would not have to wait for anything, which is the common case; else null. */
  lendNow(limits: Limits, writes: boolean, isHeld = false): Lease | null {
    if (this.#closed.aborted) return null
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
    const stack = this.#leaks.isOn ? here() : null
    return this.#enter({ taken, leave, waitMillis: 0 }, stack, isHeld ? limits : null)
  }

  #take(limits: Limits, wasBusy: boolean): Promise<Session> {
    this.#refuseWhenClosing()
    if (wasBusy || this.#tarn.isBusy) this.#total.waited += 1
    return this.#tarn.take(limits)
  }

  #enter({ taken, leave, waitMillis }: Admission<Session>, stack: Error | null, until: Limits | null): Lease {
    const lease = this.#lease(taken, stack)
    const watched = stack === null ? null : this.#leaks.lent(lease)
    const loan = new Loan(lease, leave, watched)
    this.#loans.add(loan)
    if (until !== null) this.#takeBackAfter(until, loan)
    this.#total.acquired += 1
    taken.hold(true)
    const { events } = this.#context
    if (events.isHeard('acquire')) events.tell('acquire', { waitMillis, label: lease.label })
    return lease
  }

  #takeBackAfter(until: Limits, loan: Loan): void {
    const { lease } = loan
    lease.until = until
    loan.stopWatching = until.watch((expiry) => {
      // A statement that runs is ended by its own limits, which know more about it.
      queueMicrotask(() => void this.release(lease, (_sql, cause) => until.error(expiry, cause)))
    })
  }

  /**
   * Takes a connection back: cleaned of what its user has left, closed if it is broken. With `why` it is taken from a user
   * who has not given it back, and who is told that. Never throws.
   */
  async release(lease: Lease, why?: Why): Promise<void> {
    if (why === undefined && this.releaseNow(lease)) return
    const loan = this.#loans.of(lease)
    if (loan !== undefined) await (loan.ending ??= this.#takeBack(loan, why))
  }

  async #takeBack(loan: Loan, why: Why | undefined): Promise<void> {
    const { lease } = loan
    const wasReported = this.#wasReported(loan)
    const { session } = lease
    const wasTaken = why !== undefined || lease.isOver
    lease.end(why)
    if (why !== undefined) await lease.interrupt(why)
    const isClean = await this.#turnover.clean(lease, wasTaken)
    // Cut off by close() meanwhile.
    if (this.#loans.of(lease) === undefined) return
    this.#end(loan, wasReported && why === undefined)
    if (!isClean) this.#retire(session, 'changed')
    else if (session.broken !== null || this.#closed.aborted) this.#retire(session, 'lost')
    else this.#tarn.giveBack(session)
  }

  /** The same for one that has left nothing to be cleaned, which is the common case. Returns whether it is done. */
  releaseNow(lease: Lease): boolean {
    const { session } = lease
    const loan = this.#loans.of(lease)
    const isPlain =
      loan?.ending === null &&
      !lease.isChanged &&
      session.isClean &&
      session.broken === null &&
      !this.#closed.aborted
    if (!isPlain) return false
    const wasReported = this.#wasReported(loan)
    lease.end()
    this.#end(loan, wasReported)
    this.#tarn.giveBack(session)
    return true
  }

  #wasReported({ watched }: Loan): boolean {
    return watched !== null && this.#leaks.returned(watched)
  }

  /** From now on the connection is nobody's. `isFound`: it was taken for a leak, which it is not. */
  #end(loan: Loan, isFound: boolean): void {
    const { lease } = loan
    this.#loans.remove(loan)
    lease.session.hold(false)
    this.#fitness.rests(lease.session, lease.answeredAt)
    const { events } = this.#context
    if (events.isHeard('release'))
      events.tell('release', { heldMillis: lease.heldMillis, label: lease.label })
    if (isFound) events.tell('leak', { state: 'returned', ...lease.describe() })
  }

  /** Another connection for one that was lost, unless the lease is taken back while it waits for that. */
  async #exchange(lease: Lease, limits: Limits): Promise<Session | null> {
    if (!this.#loans.isOut(lease)) return null
    this.#retire(lease.session, 'lost')
    const { acquireTimeoutMillis: patienceMillis } = this.#context.settings.pool
    const take = (bounded: Limits): Promise<Session> => this.#take(bounded, false)
    this.#loans.lost(lease)
    return this.#entrance.admit(limits, { writes: false, isIn: true, patienceMillis }, take, ({ taken }) => {
      if (!this.#loans.exchange(lease, taken)) {
        this.#tarn.giveBack(taken)
        return null
      }
      this.#byRaw.set(taken.raw, lease)
      return taken
    })
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
    const { waiting, timedOut } = this.#entrance
    const { idleCount: idle, creating } = this.#tarn
    const { created } = this.#connector
    const { count: retired } = this.#retirement
    const { count: used } = this.#loans
    return { size, maxOverflow, used, idle, creating, waiting, timedOut, created, retired, ...this.#total }
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
    const why: Why = (_sql, cause) => this.#cutOffError(cause)
    await this.#loans.cutOff(patienceMillis, why, (lease) => {
      this.#context.events.tell('release', { heldMillis: lease.heldMillis, label: lease.label })
      this.#tarn.retire(lease.session)
    })
    this.#connector.abandon()
    // Bounded, since a connection that is just being opened to a host that does not answer takes its time.
    await within(patienceMillis, Promise.all([this.#tarn.destroy(), this.sideLane.close()]))
    return stuck
  }

  #opened(session: Session, durationMillis: number): void {
    this.#upkeep.opened(session)
    this.#context.events.tell('create', { durationMillis })
  }

  /** A failure that may pass leaves the waiters where they are, until their time is up; any other ends their wait. */
  #connectFailed({ error, isTransient }: ConnectFailure, attempt: number): void {
    if (isTransient || !this.#tarn.isWaitedFor) this.#context.events.tell('connectRetry', { attempt, error })
    if (!isTransient) this.#tarn.failWaiters(error)
  }

  #retire(session: Session, reason: RetireEvent['reason']): void {
    this.#retirement.because(session, reason)
    this.#tarn.retire(session)
  }

  #lease(session: Session, stack: Error | null): Lease {
    const lease = new Lease(session, this.#leaseContext, currentScope(), stack)
    this.#byRaw.set(session.raw, lease)
    return lease
  }

  #refuseWhenClosing(): void {
    if (this.#closed.aborted) throw this.#closingError()
  }

  #cutOffError(cause: unknown): NotConnectedError {
    return new NotConnectedError(
      `Database '${this.#context.name}' was disconnected: what had not ended within the grace was cancelled, and open ` +
        'transactions were rolled back.',
      { cause },
    )
  }

  #closingError(): NotConnectedError {
    return new NotConnectedError(`Database '${this.#context.name}' is disconnecting and takes no new work.`)
  }
}
