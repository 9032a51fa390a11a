/** A lease: a session taken out of the pool, who took it, and what it runs. Every statement passes through here. */
import { Canceller } from '../context/canceller'
import { ConnectionError, type DatabaseError, type Holder, QueryCanceledError } from '../errors'
import { Limits } from '../context/limits'
import { countStatement, type Scope } from '../context/scope'
import { type Access, type Cursor, type Result, shownSql, type Statement } from '../driver/statement'
import type { Dialect, TransactionModes } from '../driver/dialect'
import type { Events } from '../events'
import type { Settings } from '../options'
import type { Session } from '../driver/session'
import { refuseTransactionControl, leaseEndedError, type StatementErrorFactory } from './transaction-control'
import { withoutValues } from '../driver/driver-error'
import { siteOf } from '../context/call-site'
import type { Entry } from '../context/linked-list'
import type { Unlock } from '../context/mutex'
import type { PooledSession } from './pooled-session'
import { startWatchdog } from '../context/timers'

/** The least time for a statement that cannot be cancelled, however short the statement timeout is. */
const MIN_UNINTERRUPTED_MILLIS = 5000

/** Work on a lease, within limits that may be narrower than those of the call. */
export type Work<T> = (lease: Lease, limits: Limits) => Promise<T>

/** The connection from which a streamed result is read: `use` for each batch, `release` at the end. */
export interface StreamSource {
  /** True when nothing else uses the connection until the end, so that batches may be read ahead. */
  readonly isExclusive: boolean
  use<T>(work: Work<T>): Promise<T>
  /** Runs the work that closes the cursor. It has no limits, and a read that is under way is cancelled. */
  close(work: Work<void>): Promise<void>
  release(): Promise<void>
}

/** Something on which statements run and streams are read. */
export interface StatementRunner {
  use<T>(limits: Limits, access: Access, work: Work<T>): Promise<T>
  streamSource(limits: Limits): StreamSource
}

/** Something in which a transaction can begin: a held lease, or another transaction. */
export interface TransactionParent extends StatementRunner {
  begin(modes: Pick<TransactionModes, 'isolation' | 'readOnly'>): Promise<BegunTransaction>
}

/** A transaction that its caller ends by `commit` or `rollback`. */
export interface BegunTransaction extends StatementRunner {
  commit(): Promise<void>
  /** Does nothing if the transaction was rolled back already. */
  rollback(): Promise<void>
}

/** The pool, as a lease uses it. */
export interface LeasePool {
  readonly context: { readonly dialect: Dialect; readonly events: Events; readonly settings: Settings }
  /** Puts all connections in doubt, since this one gave no answer and was destroyed. */
  suspectAll(): void
  /** Queues for a connection to replace the lost one of a lease; null if the lease was released meanwhile. */
  replaceConnection(lease: Lease, limits: Limits): Promise<PooledSession | null>
}

export class Lease {
  /** Replaced by another one if its connection is lost before the first answer. */
  pooled: PooledSession
  /** True once its holder has got the driver's connection, by {@link expose}. */
  isExposed = false
  /** True when its session may have settings that the next holder must not find. */
  isChanged = false
  readonly #scope: Scope | undefined
  readonly #stack: Error | null
  readonly since = performance.now()
  #sql: string | null = null
  /** Makes the error of further statements, once the lease has ended; null before. */
  #endError: StatementErrorFactory | null = null
  /** How many transactions of millpond are open on it, one inside the other. */
  transactions = 0
  /** The innermost transaction that is open on it, or its holder; null while it is lent for one statement. */
  transactionParent: TransactionParent | null = null
  /** The limits of the section that runs now, for the statements that Knex adds to it. */
  limits = Limits.none
  /** The lease is taken back when these run out. */
  until = Limits.none
  readonly #pool: LeasePool
  /** True until its first statement. */
  #isUnused = true
  /** Cancels the wait for another connection. */
  #replacing: Canceller | null = null
  /** When the database last answered a statement of this lease; null before the first answer. */
  answeredAt: number | null = null
  /** Tells whether the transaction of the section that runs now has ended. */
  #isSectionOver: (() => boolean) | null = null
  #interrupt: ((makeError: StatementErrorFactory) => void) | null = null
  /** Sections and statements that run now. */
  #running = 0
  #onIdle: (() => void)[] | null = null
  /** Its entry in the pool's list of leases; null for the lease of afterConnect, which is not listed. */
  entry: Entry<Lease> | null = null
  /** True while it has no connection, because its own was lost and it waits for another one. */
  awaitsReplacement = false
  /** Settles when its release is over; null until that begins. */
  releasing: Promise<void> | null = null
  /** Lets the next writer take a connection; null unless the database takes one writer at a time. */
  endWriteTurn: Unlock | null = null
  stopWatching: (() => void) | null = null
  /** The record of the leak detector, if that is on. */
  watch: { entry: Entry<Lease>; since: number; isReported: boolean; isReclaimed: boolean } | null = null

  /** `stack`: where the lease was taken. */
  constructor(pooled: PooledSession, pool: LeasePool, scope: Scope | undefined, stack: Error | null) {
    this.pooled = pooled
    this.#pool = pool
    this.#scope = scope
    this.#stack = stack
  }

  get session(): Session {
    return this.pooled.session
  }

  /** True until its release begins. */
  get isOut(): boolean {
    return this.entry?.isListed === true && this.releasing === null
  }

  /** The label of the scope that took it. */
  get label(): string | null {
    return this.#scope?.label ?? null
  }

  /**
   * Returns the driver's connection. What the caller does with it cannot be seen, so the connection is closed or reset
   * after the lease.
   *
   * @throws TransactionClosedError when the lease has ended, and the connection may belong to another one
   */
  expose(): object {
    this.refuseIfEnded()
    this.isChanged = true
    this.isExposed = true
    this.session.onRawExposed?.()
    return this.session.raw
  }

  get isEnded(): boolean {
    return this.#endError !== null
  }

  /** True while statements can run: the lease has not ended, and the connection is not broken. */
  get isUsable(): boolean {
    return this.#endError === null && this.session.broken === null
  }

  /** Returns whether a statement failed with this error because the connection was lost. */
  isLostBy(error: unknown): boolean {
    return error instanceof ConnectionError && this.session.broken !== null
  }

  get inTransaction(): boolean {
    return this.isUsable && this.session.inTransaction
  }

  /** Destroys the session, unless the lease has ended and the session may belong to another one. */
  destroy(): void {
    if (this.#endError === null) this.session.destroy()
  }

  /** @throws TransactionClosedError, or what {@link end} was given, once the lease has ended */
  refuseIfEnded(): void {
    if (this.#endError !== null) throw this.#endError('')
  }

  /** Refuses all further statements; `makeError` makes their errors. */
  end(makeError: StatementErrorFactory = leaseEndedError): void {
    this.#endError ??= makeError
  }

  /** `now`: one moment for all leases, since formatting a call site takes long enough to change their order. */
  describe(now = performance.now()): Holder {
    return {
      label: this.label,
      site: siteOf(this.#stack),
      heldMillis: now - this.since,
      sql: this.#sql,
      inTransaction: this.session.inTransaction,
    }
  }

  /**
   * Begins a section: one statement or several, as Knex's schema builder sends them. Once `isOver` returns true, further
   * statements are refused: the transaction that they belong to has been rolled back. The caller ends it by {@link endSection}.
   */
  beginSection(isOver: (() => boolean) | null, limits: Limits): void {
    this.#isSectionOver = isOver
    this.limits = limits
    this.#running += 1
  }

  endSection(): void {
    this.#isSectionOver = null
    this.limits = Limits.none
    this.#finishRunning()
  }

  /**
   * Runs one statement. When its limits run out it is cancelled on the server, and the promise settles only after the
   * cancel is over, so that the cancel cannot hit a later statement.
   */
  run(statement: Statement, limits: Limits): Promise<Result> {
    if (this.transactions > 0) refuseTransactionControl(statement)
    if (statement.facts.changesSession) this.isChanged = true
    return this.runUnchecked(statement, limits)
  }

  /** Runs one statement, without refusing those that begin or end transactions. */
  runUnchecked(statement: Statement, limits: Limits): Promise<Result> {
    return this.#runLimited(statement, limits, () => this.session.run(statement))
  }

  /**
   * Runs a statement that cannot be cancelled, such as COMMIT. If the server does not answer within the statement
   * timeout, or shortly after the deadline of `limits`, the session is destroyed, since the outcome is unknown.
   */
  async runUninterrupted(statement: Statement, limits: Limits = Limits.none): Promise<Result> {
    this.refuseIfEnded()
    const stopWatchdog = this.#startSilenceWatchdog(limits)
    const started = performance.now()
    let error: DatabaseError | undefined
    this.#sql = statement.sql
    this.#running += 1
    try {
      return await this.session.run(statement)
    } catch (cause) {
      error = this.#pool.context.dialect.translate(cause, statement.sql)
      throw error
    } finally {
      stopWatchdog()
      this.#finish(statement.sql, started, error)
    }
  }

  /** Begins a transaction on a session that can send BEGIN together with its first statement. */
  begin(sql: string, limits: Limits): void {
    this.refuseIfEnded()
    limits.check()
    this.session.begin?.(sql)
    this.#reportQuery(sql, 0, undefined)
  }

  openCursor(statement: Statement, isExclusive: boolean, limits: Limits): Promise<Cursor> {
    if (this.transactions > 0) refuseTransactionControl(statement)
    if (statement.facts.changesSession) this.isChanged = true
    return this.#runLimited(statement, limits, () => this.session.openCursor(statement, isExclusive))
  }

  read(
    cursor: Cursor,
    count: number | null,
    statement: Statement,
    limits: Limits,
  ): ReturnType<Cursor['read']> {
    return this.#runLimited(statement, limits, () => cursor.read(count))
  }

  /** Closes a cursor, which cannot be cancelled. A silent server is waited for only until the deadline of `limits`. */
  async close(cursor: Cursor, statement: Statement, limits: Limits): Promise<void> {
    const stopWatchdog = this.#startSilenceWatchdog(limits)
    try {
      await this.#runLimited(statement, Limits.none, () => cursor.close())
    } finally {
      stopWatchdog()
    }
  }

  /** Runs the work of one statement within its limits, and reports it. */
  async #runLimited<T>(statement: Statement, limits: Limits, work: () => Promise<T>): Promise<T> {
    const sql = shownSql(statement)
    this.refuseIfEnded()
    if (this.#isSectionOver?.() === true) throw leaseEndedError()
    limits.check()
    const { settings, dialect } = this.#pool.context
    const started = performance.now()
    let stopError: StatementErrorFactory | undefined
    let cancelling: Promise<void> | undefined
    let stopWatchdog: (() => void) | undefined
    const { statementTimeoutMillis } = settings
    const bounded = limits.ofStatement(sql, statementTimeoutMillis, statement.timeoutMillis, started)
    const stop = (makeError: StatementErrorFactory): void => {
      if (stopError !== undefined) return
      stopError = makeError
      cancelling = this.#cancel()
      stopWatchdog = startWatchdog(dialect.cancelGraceMillis, () => this.#destroySilent())
    }
    const stopWatching = bounded.watch((expiry) => {
      stop((_sql, cause) => bounded.error(expiry, cause))
    })
    this.#interrupt = stop
    this.#sql = sql
    this.#running += 1
    const isFirst = this.#isUnused
    this.#isUnused = false
    let error: DatabaseError | undefined
    try {
      try {
        return await work()
      } catch (cause) {
        if (!isFirst || stopError !== undefined || !(await this.#restartOnNewConnection(bounded))) throw cause
        this.refuseIfEnded()
        if (stopError !== undefined) throw cause
        return await work()
      }
    } catch (cause) {
      const own = withoutValues(dialect.translate(cause, sql), statement.bindings)
      // The statement may have failed by itself at the moment when it was stopped.
      const isCut = own instanceof QueryCanceledError || this.session.broken !== null
      error = stopError !== undefined && isCut ? stopError(sql, cause) : own
      throw error
    } finally {
      stopWatching()
      stopWatchdog?.()
      // On a broken session there is no later statement that the cancel could hit.
      if (cancelling !== undefined && this.session.broken === null) await cancelling
      this.#interrupt = null
      this.#finish(sql, started, error)
    }
  }

  /** Records and reports the end of a statement. */
  #finish(sql: string, started: number, error: DatabaseError | undefined): void {
    this.#sql = null
    this.#finishRunning()
    const now = performance.now()
    if (this.session.broken === null) this.answeredAt = now
    this.#reportQuery(sql, now - started, error)
  }

  #reportQuery(sql: string, durationMillis: number, error: DatabaseError | undefined): void {
    countStatement(durationMillis)
    const { events } = this.#pool.context
    if (events.listenerCount('query') === 0) return
    events.tell('query', { sql, durationMillis, label: this.label, ...(error && { error }) })
  }

  /** Begins a transaction again on another connection, if its first statement met a dead one. Returns whether it did. */
  async #restartOnNewConnection(limits: Limits): Promise<boolean> {
    const { unansweredBegin = null } = this.session
    if (unansweredBegin === null || this.isExposed) return false
    const replacing = (this.#replacing = new Canceller(leaseEndedError))
    try {
      const pooled = await this.#pool.replaceConnection(this, limits.and(Limits.until(replacing)))
      pooled?.session.begin?.(unansweredBegin)
      return pooled !== null
    } finally {
      this.#replacing = null
    }
  }

  /** Destroys the session of a server that does not answer, and tells the pool. */
  #destroySilent(): void {
    this.session.destroy()
    this.#pool.suspectAll()
  }

  /** Watches a statement that cannot be cancelled. Returns how to stop that. */
  #startSilenceWatchdog(limits: Limits): () => void {
    const { settings, dialect } = this.#pool.context
    const ownMillis = Math.max(settings.statementTimeoutMillis, MIN_UNINTERRUPTED_MILLIS)
    // The rest of the grace is for asking the server for the outcome.
    const leftMillis = limits.remainingMillis + dialect.cancelGraceMillis * 0.75
    return startWatchdog(Math.min(ownMillis, leftMillis), () => this.#destroySilent())
  }

  async #cancel(): Promise<void> {
    this.#replacing?.abort()
    try {
      await this.session.cancel()
    } catch {
      // The server cannot be asked to stop the statement, so the session is destroyed.
      this.session.destroy()
    }
  }

  get isBusy(): boolean {
    return this.#running > 0
  }

  /** Cancels the statement that runs, if it can be, and resolves when nothing runs. `makeError` makes its error. */
  async interrupt(makeError: StatementErrorFactory): Promise<void> {
    if (this.#running === 0) return
    const idle = new Promise<void>((resolve) => (this.#onIdle ??= []).push(resolve))
    this.#interrupt?.(makeError)
    await idle
  }

  #finishRunning(): void {
    this.#running -= 1
    if (this.#running > 0 || this.#onIdle === null) return
    for (const idle of this.#onIdle.splice(0)) idle()
  }
}
