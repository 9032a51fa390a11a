/** The pool: lends sessions as leases, says who holds them, and closes when asked to. */
import { Canceller } from '../context/canceller'
import { type Holder, NotConnectedError } from '../errors'
import type { RetireEvent } from '../events'
import type { Limits } from '../context/limits'
import { currentScope, outsideOfScopes } from '../context/scope'
import { captureCallSite } from '../context/call-site'
import { Opener } from './opener'
import type { Why } from './transaction-control'
import type { ConnectFailure } from '../driver/dialect'
import type { Session } from '../driver/session'
import { type Admission, AcquireQueue } from './acquire-queue'
import { SessionHealth } from './session-health'
import { LeakDetector } from './leak-detector'
import { Lease } from './lease'
import type { LeaseContext } from './lease-context'
import { LeaseRecord, Leases } from './leases'
import type { LendOptions, PoolContext } from './pool-context'
import type { PoolStats } from './pool-stats'
import { Retirement } from './retirement'
import { ControlConnection } from './control-connection'
import { TarnPool } from './tarn-pool'
import { SessionReset } from './reset'
import { Housekeeper } from './housekeeper'
import { within } from '../context/watchdog'
import { LONGEST_TIMER_MILLIS } from '../context/deadline-timer'

/** How long closing may take once nobody holds a connection any more. */
const CLOSE_PATIENCE_MILLIS = 200

export class Pool {
  readonly #context: PoolContext
  readonly #leaseContext: LeaseContext
  readonly #acquireQueue: AcquireQueue
  readonly #opener: Opener
  readonly #health: SessionHealth
  readonly #reset: SessionReset
  /** Beside the pool, so that a full one makes nobody wait. */
  readonly controlConnection: ControlConnection
  readonly #tarn: TarnPool
  readonly #housekeeper: Housekeeper
  readonly #leaks: LeakDetector
  readonly #leases = new Leases()
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
    const silent = (): void => this.#housekeeper.doubtAll()
    this.#leaseContext = { dialect, events, statementTimeoutMillis, silent, exchange }
    const askDoubted = (): void => this.#housekeeper.askDoubted()
    this.#health = new SessionHealth(settings.pool, askDoubted)
    this.#retirement = new Retirement(this.#health, events, this.#closed)
    const leaseOf = (session: Session): Lease => this.#lease(session, null)
    this.#reset = new SessionReset({ dialect, events, silent, prepare, leaseOf })
    const longestWaitMillis = Math.max(acquireTimeoutMillis, settings.connectTimeoutMillis)
    this.#opener = new Opener({
      patienceMillis: Math.min(longestWaitMillis, LONGEST_TIMER_MILLIS),
      open,
      prepare: (session) => this.#reset.prepare(session),
      translateConnect,
      opened: this.#opened.bind(this),
      failed: this.#connectFailed.bind(this),
    })
    const refuseWhenClosing = this.#refuseWhenClosing.bind(this)
    this.controlConnection = new ControlConnection({
      ...context,
      isSingle: dialect.isSingle,
      refuseWhenClosing,
    })
    this.#tarn = new TarnPool({
      size,
      max: size + maxOverflow,
      longestWaitMillis,
      // Outside of the scope of whoever happens to ask first: its deadline is not that of the connection.
      create: () => outsideOfScopes(() => this.#opener.create()),
      destroy: (session) => this.#retirement.end(session),
      isFresh: (session) => this.#health.isFresh(session),
      validate: (session, silent) => this.#health.canBeLent(session, silent),
    })
    this.#acquireQueue = new AcquireQueue({
      ...context,
      closed: this.#closed,
      used: () => this.#leases.count,
      holders: () => this.holders(),
      heardAt: () => Math.max(this.#health.heardAt, this.#leases.heardAt),
      lastFailure: () => this.#opener.lastFailure,
    })
    this.#housekeeper = new Housekeeper(this.#tarn, this.#health, min, this.#retire.bind(this))
    this.#leaks = new LeakDetector(settings.pool, events, (lease, why) => this.release(lease, why))
  }

  /** Begins to look after idle connections, and opens those of `pool.min`. */
  start(): void {
    this.#housekeeper.start()
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
    const stack = this.#leaks.isOn && !isOurs ? captureCallSite() : null
    const patienceMillis = waitMillis ?? this.#context.settings.pool.acquireTimeoutMillis
    const isBusy = this.#tarn.isBusy
    const take = (bounded: Limits): Promise<Session> => this.#take(bounded, isBusy)
    return this.#acquireQueue.admit(limits, { writes, patienceMillis }, take, (admission) =>
      this.#enter(admission, stack, isHeld ? limits : null),
    )
  }

  /** The same for one who would not have to wait for anything, which is the common case; else null. */
  tryLend(limits: Limits, writes: boolean, isHeld = false): Lease | null {
    if (this.#closed.aborted) return null
    limits.check()
    const { dialect, settings } = this.#context
    const door = writes ? dialect.door : null
    // Where those who wait are counted, the entrance has to see every one.
    const leave = settings.pool.maxWaiters === Infinity ? (door?.tryLock() ?? null) : null
    if (door !== null && leave === null) return null
    const taken = this.#tarn.tryTake()
    if (taken === null) {
      leave?.()
      return null
    }
    const stack = this.#leaks.isOn ? captureCallSite() : null
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
    const record = new LeaseRecord(lease, leave, watched)
    this.#leases.add(record)
    if (until !== null) this.#takeBackAfter(until, record)
    this.#total.acquired += 1
    taken.hold(true)
    const { events } = this.#context
    if (events.isHeard('acquire')) events.tell('acquire', { waitMillis, label: lease.label })
    return lease
  }

  #takeBackAfter(until: Limits, record: LeaseRecord): void {
    const { lease } = record
    lease.until = until
    record.stopWatching = until.watch((expiry) => {
      // A statement that runs is ended by its own limits, which know more about it.
      queueMicrotask(() => void this.release(lease, (_sql, cause) => until.error(expiry, cause)))
    })
  }

  /**
   * Takes a connection back: cleaned of what its user has left, closed if it is broken. With `why` it is taken from a user
   * who has not given it back, and who is told that. Never throws.
   */
  async release(lease: Lease, why?: Why): Promise<void> {
    if (why === undefined && this.tryRelease(lease)) return
    const record = this.#leases.of(lease)
    if (record !== undefined) await (record.ending ??= this.#takeBack(record, why))
  }

  async #takeBack(record: LeaseRecord, why: Why | undefined): Promise<void> {
    const { lease } = record
    const wasReported = this.#wasReported(record)
    const { session } = lease
    const wasTaken = why !== undefined || lease.isOver
    lease.end(why)
    if (why !== undefined) await lease.interrupt(why)
    const isClean = await this.#reset.clean(lease, wasTaken)
    // Cut off by close() meanwhile.
    if (this.#leases.of(lease) === undefined) return
    this.#end(record, wasReported && why === undefined)
    if (!isClean) this.#retire(session, 'changed')
    else if (session.broken !== null || this.#closed.aborted) this.#retire(session, 'lost')
    else this.#tarn.giveBack(session)
  }

  /** The same for one that has left nothing to be cleaned, which is the common case. Returns whether it is done. */
  tryRelease(lease: Lease): boolean {
    const { session } = lease
    const record = this.#leases.of(lease)
    const isPlain =
      record?.ending === null &&
      !lease.isChanged &&
      session.isClean &&
      session.broken === null &&
      !this.#closed.aborted
    if (!isPlain) return false
    const wasReported = this.#wasReported(record)
    lease.end()
    this.#end(record, wasReported)
    this.#tarn.giveBack(session)
    return true
  }

  #wasReported({ watched }: LeaseRecord): boolean {
    return watched !== null && this.#leaks.returned(watched)
  }

  /** From now on the connection is nobody's. `isFound`: it was taken for a leak, which it is not. */
  #end(record: LeaseRecord, isFound: boolean): void {
    const { lease } = record
    this.#leases.remove(record)
    lease.session.hold(false)
    this.#health.rests(lease.session, lease.answeredAt)
    const { events } = this.#context
    if (events.isHeard('release'))
      events.tell('release', { heldMillis: lease.heldMillis, label: lease.label })
    if (isFound) events.tell('leak', { state: 'returned', ...lease.describe() })
  }

  /** Another connection for one that was lost, unless the lease is taken back while it waits for that. */
  async #exchange(lease: Lease, limits: Limits): Promise<Session | null> {
    if (!this.#leases.isOut(lease)) return null
    this.#retire(lease.session, 'lost')
    const { acquireTimeoutMillis: patienceMillis } = this.#context.settings.pool
    const take = (bounded: Limits): Promise<Session> => this.#take(bounded, false)
    this.#leases.lost(lease)
    return this.#acquireQueue.admit(
      limits,
      { writes: false, isIn: true, patienceMillis },
      take,
      ({ taken }) => {
        if (!this.#leases.exchange(lease, taken)) {
          this.#tarn.giveBack(taken)
          return null
        }
        this.#byRaw.set(taken.raw, lease)
        return taken
      },
    )
  }

  /** The lease under which a raw connection is out now. */
  leaseOf(raw: object): Lease | undefined {
    return this.#byRaw.get(raw)
  }

  holders(): readonly Holder[] {
    return this.#leases.holders()
  }

  stats(): PoolStats {
    const { size, maxOverflow } = this.#context.settings.pool
    const { waiting, timedOut } = this.#acquireQueue
    const { idleCount: idle, creating } = this.#tarn
    const { created } = this.#opener
    const { count: retired } = this.#retirement
    const { count: used } = this.#leases
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
    this.#housekeeper.stop()
    await within(Math.min(graceMillis, LONGEST_TIMER_MILLIS), this.#leases.none())
    this.#leaks.stop()
    const stuck = this.holders()
    const why: Why = (_sql, cause) => this.#cutOffError(cause)
    await this.#leases.cutOff(patienceMillis, why, (lease) => {
      this.#context.events.tell('release', { heldMillis: lease.heldMillis, label: lease.label })
      this.#tarn.retire(lease.session)
    })
    this.#opener.abandon()
    // Bounded, since a connection that is just being opened to a host that does not answer takes its time.
    await within(patienceMillis, Promise.all([this.#tarn.destroy(), this.controlConnection.close()]))
    return stuck
  }

  #opened(session: Session, durationMillis: number): void {
    this.#housekeeper.opened(session)
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
