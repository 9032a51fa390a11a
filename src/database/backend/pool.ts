/** The pool: lends sessions as leases, says who holds them, and closes when asked to. */
import { ConnectionError, type DatabaseError, type Holder, NotConnectedError } from '../errors'
import type { Events } from '../events'
import { Limits, LONGEST_TIMER_MILLIS } from '../limits'
import type { Unlock } from '../mutex'
import type { Settings } from '../options'
import { currentScope, outsideOfScopes } from '../scope'
import { Connector } from './connector'
import type { ConnectFailure, Dialect, Outcome, Session } from './dialect'
import { lateError } from './late-error'
import { Lease } from './lease'
import type { PoolStats } from './pool-stats'
import { SideLane } from './side-lane'
import { TarnPool } from './tarn-pool'
import { within } from './within'

export interface PoolContext {
  readonly name: string
  readonly dialect: Dialect
  readonly settings: Settings
  readonly events: Events
  /** Opens a connection and makes a session of it. */
  open(this: void): Promise<Session>
  /** Runs on each new session before anybody else has it. */
  prepare(this: void, lease: Lease): Promise<void>
  translateConnect(this: void, error: unknown): ConnectFailure
}

interface Loan {
  readonly lease: Lease
  readonly leaveQueue: Unlock | null
}

/** How often a server is asked that has not noticed a lost connection yet. */
const ASK_AGAIN_MILLIS = 50

/** How long closing may take once nobody holds a connection any more. */
const CLOSE_PATIENCE_MILLIS = 2000

export class Pool {
  readonly #context: PoolContext
  readonly #connector: Connector
  readonly #sideLane: SideLane
  readonly #tarn: TarnPool
  readonly #loans = new Map<Session, Loan>()
  readonly #byRaw = new WeakMap<object, Lease>()
  readonly #total = { acquired: 0, waited: 0, timedOut: 0, retired: 0 }
  #queueing = 0
  readonly #closed = new AbortController()
  #onLoanEnd: (() => void) | undefined

  constructor(context: PoolContext) {
    this.#context = context
    const { settings, open, translateConnect } = context
    this.#connector = new Connector({
      settings,
      open,
      prepare: (session) => this.#prepare(session),
      translateConnect,
      failed: (failure, attempt) => {
        this.#connectFailed(failure, attempt)
      },
    })
    this.#sideLane = new SideLane(open, translateConnect)
    const { size, maxOverflow, idleTimeoutMillis, acquireTimeoutMillis } = settings.pool
    this.#tarn = new TarnPool({
      size,
      max: size + maxOverflow,
      idleTimeoutMillis,
      acquireTimeoutMillis,
      // Outside of the scope of whoever happens to ask first: its deadline is not that of the connection.
      create: () => outsideOfScopes(() => this.#connector.create()),
      destroy: (session) => this.#destroy(session),
      validate: (session) => this.#connector.isFit(session),
      isExpired: (session) => this.#connector.isWorn(session),
    })
  }

  /**
   * Lends a connection, in the order asked. Whoever gets it gives it to {@link release}.
   *
   * @throws PoolTimeoutError when all connections are in use for the whole of the acquire timeout
   * @throws ConnectionError when the database cannot be reached within it, or refuses
   * @throws NotConnectedError when the pool is closing
   */
  async lend(
    limits: Limits,
    writes: boolean,
    waitMillis: number = this.#context.settings.pool.acquireTimeoutMillis,
  ): Promise<Lease> {
    this.#refuseWhenClosing()
    const bounded = limits.within(waitMillis, () => {
      this.#total.timedOut += 1
      return this.#lateError(waitMillis)
    })
    bounded.check()
    const admission = writes
      ? this.#context.dialect.admitWriter(bounded.and(Limits.until(this.#closed.signal)))
      : null
    this.#queueing += 1
    let leaveQueue: Unlock | null = null
    try {
      leaveQueue = await admission
      this.#refuseWhenClosing()
      if (this.#tarn.isBusy) this.#total.waited += 1
      const session = await this.#tarn.take(bounded)
      const lease = this.#lease(session)
      this.#loans.set(session, { lease, leaveQueue })
      this.#byRaw.set(session.raw, lease)
      this.#total.acquired += 1
      session.hold(true)
      return lease
    } catch (error) {
      leaveQueue?.()
      this.#refuseWhenClosing()
      throw error
    } finally {
      this.#queueing -= 1
    }
  }

  /** Takes a connection back: rolled back if it was left in a transaction, closed if it is broken. Never throws. */
  async release(lease: Lease): Promise<void> {
    const { session } = lease
    const loan = this.#loans.get(session)
    if (loan?.lease !== lease) return
    lease.end()
    try {
      const what = session.broken === null ? await session.reset() : null
      if (what !== null) this.#context.events.tell('cleanup', { what, label: lease.describe().label })
    } catch {
      // What state it is in nobody knows, so nobody may have it.
      session.destroy()
    }
    this.#loans.delete(session)
    loan.leaveQueue?.()
    session.hold(false)
    if (session.broken === null && !this.#closed.signal.aborted) this.#putBack(session)
    else this.#tarn.retire(session)
    this.#onLoanEnd?.()
  }

  /** The lease under which a raw connection is out now. */
  leaseOf(raw: object): Lease | undefined {
    return this.#byRaw.get(raw)
  }

  holders(): readonly Holder[] {
    return [...this.#loans.values()]
      .map(({ lease }) => lease.describe())
      .toSorted((a, b) => b.heldMillis - a.heldMillis)
  }

  stats(): PoolStats {
    const { size, maxOverflow } = this.#context.settings.pool
    return {
      size,
      maxOverflow,
      used: this.#loans.size,
      idle: this.#tarn.numFree(),
      creating: this.#tarn.numPendingCreates(),
      waiting: this.#queueing,
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

  /** Asks what became of a transaction whose connection was lost, until the server knows or `limits` run out. */
  async outcomeOf(transactionId: string, limits: Limits): Promise<Outcome> {
    for (;;) {
      limits.check()
      this.#refuseWhenClosing()
      const outcome = await this.#askOutcome(transactionId, limits)
      if (outcome !== 'open') return outcome
      await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN_MILLIS))
    }
  }

  async #askOutcome(transactionId: string, limits: Limits): Promise<Outcome> {
    try {
      return await this.#sideLane.ask(limits, (session) => session.outcomeOf(transactionId))
    } catch (error) {
      // What cut that connection has often cut this one, too, and a server that restarts refuses new ones for a while.
      if (error instanceof ConnectionError) return 'open'
      throw error
    }
  }

  /**
   * Closes every connection: the idle ones now, the others as they come back, and what is still out after the
   * grace by force. Always resolves, and waits no longer than `patienceMillis` for connections to be closed.
   *
   * @returns who had to be cut off
   */
  async close(graceMillis: number, patienceMillis = CLOSE_PATIENCE_MILLIS): Promise<readonly Holder[]> {
    this.#closed.abort()
    this.#tarn.failWaiters(this.#closingError())
    await this.#loansEnd(graceMillis)
    const stuck = this.holders()
    // A server notices that a connection is gone when it has something to say to it: a long statement is cancelled.
    const interrupted = [...this.#loans.values()].map(({ lease }) => lease.interrupt())
    await within(patienceMillis, Promise.all(interrupted))
    for (const [session, { lease, leaveQueue }] of this.#loans) {
      lease.end()
      leaveQueue?.()
      session.destroy()
      this.#tarn.retire(session)
    }
    this.#loans.clear()
    this.#connector.abandon()
    // Bounded, since a connection that is just being opened to a host that does not answer takes its time.
    await within(patienceMillis, Promise.all([this.#tarn.destroy(), this.#sideLane.close()]))
    return stuck
  }

  #loansEnd(graceMillis: number): Promise<void> {
    if (this.#loans.size === 0) return Promise.resolve()
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, Math.min(graceMillis, LONGEST_TIMER_MILLIS))
      this.#onLoanEnd = () => {
        if (this.#loans.size > 0) return
        clearTimeout(timer)
        resolve()
      }
    })
  }

  #putBack(session: Session): void {
    this.#connector.rests(session)
    this.#tarn.giveBack(session)
  }

  async #prepare(session: Session): Promise<void> {
    const lease = this.#lease(session)
    this.#byRaw.set(session.raw, lease)
    await this.#context.prepare(lease)
    lease.end()
    const what = await session.reset(true)
    if (what !== null)
      this.#context.events.tell('cleanup', { what: `${what} (left by afterConnect)`, label: null })
  }

  /** A failure that may pass leaves the waiters where they are, until their time is up; any other ends their wait. */
  #connectFailed({ error, isTransient }: ConnectFailure, attempt: number): void {
    if (isTransient && this.#tarn.isWaitedFor) {
      this.#context.events.tell('connectRetry', { attempt, error })
      return
    }
    this.#tarn.failWaiters(error)
  }

  async #destroy(session: Session): Promise<void> {
    this.#total.retired += 1
    await session.close()
  }

  #lease(session: Session): Lease {
    const { dialect, events, settings } = this.#context
    return new Lease(
      session,
      { dialect, events, statementTimeoutMillis: settings.statementTimeoutMillis },
      currentScope(),
    )
  }

  #refuseWhenClosing(): void {
    if (this.#closed.signal.aborted) throw this.#closingError()
  }

  #closingError(): NotConnectedError {
    return new NotConnectedError(`Database '${this.#context.name}' is disconnecting and takes no new work.`)
  }

  #lateError(waitMillis: number): DatabaseError {
    const { name, settings } = this.#context
    return lateError({
      name,
      waitMillis,
      cap: settings.pool.size + settings.pool.maxOverflow,
      holders: this.holders(),
      others: this.#queueing - 1,
      isConnecting: this.#tarn.numPendingCreates() > 0,
      lastFailure: this.#connector.lastFailure,
    })
  }
}
