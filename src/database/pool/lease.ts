/** A connection taken out of the pool, and what it runs. Every statement passes here. */
import { Canceller } from '../context/canceller'
import { type DatabaseError, type Holder, QueryCanceledError } from '../errors'
import { Limits } from '../context/limits'
import { countStatement, type Scope } from '../context/scope'
import {
  type Access,
  type Cursor,
  type Result,
  type Row,
  shownSql,
  type Statement,
} from '../driver/statement'
import type { IsolationLevel } from '../driver/dialect'
import type { Session } from '../driver/session'
import { refuseControl, tooLate, type Why } from './transaction-control'
import { withoutValues } from '../driver/driver-error'
import { siteOf } from '../context/call-site'
import type { Entry } from '../context/linked-list'
import type { Unlock } from '../context/mutex'
import type { PooledSession } from './pooled-session'
import type { LeaseContext } from './lease-context'
import { cutPast, limitsOf } from './statement-timeout'
import { startWatchdog } from '../context/watchdog'

const noop = (): void => undefined

/** What is to be done with a connection, within limits that may be narrower than those of the call. */
export type Work<T> = (lease: Lease, limits: Limits) => Promise<T>

/** Where a streamed result is read: `use` for each piece, `release` at the end. */
export interface StreamSource {
  /** True when nobody else uses the connection until the end, so that a piece can be read before it is asked for. */
  readonly alone: boolean
  use<T>(work: Work<T>): Promise<T>
  /** The same for the end of it, which nobody calls off. A piece that is being read by then is waited for by nobody. */
  close(work: Work<void>): Promise<void>
  release(): Promise<void>
}

/** How statements are run, and streams read. */
export interface Statements {
  use<T>(limits: Limits, access: Access, work: Work<T>): Promise<T>
  reading(limits: Limits): StreamSource
}

/** Where a transaction can begin. */
export interface Ground extends Statements {
  begin(modes: { readonly isolation?: IsolationLevel; readonly readOnly?: boolean }): Promise<Begun>
}

/** A transaction that has begun, and is ended by hand. */
export interface Begun extends Statements {
  commit(): Promise<void>
  /** Does nothing when that has happened already. */
  rollback(): Promise<void>
}

export class Lease {
  /** Another one than at first, if that was lost before it was asked anything. */
  pooled: PooledSession
  /** Its holder has seen the driver's connection. */
  isExposed = false
  /** Something may be set on the connection that the next holder must not find there. */
  isChanged = false
  readonly #scope: Scope | undefined
  readonly #stack: Error | null
  readonly since = performance.now()
  /** What it runs now. */
  #sql: string | null = null
  /** Why nothing may run through it any more. */
  #over: Why | null = null
  /** How many transactions of ours are open on it, one inside the other. */
  transactions = 0
  /** The innermost transaction that is open on it, or who holds it; null while it is lent for one statement. */
  ground: Ground | null = null
  /** Those of the section that runs now, for statements that Knex makes on its way. */
  limits = Limits.none
  /** When these run out, it is taken back. */
  until = Limits.none
  readonly #context: LeaseContext
  /** Nothing has been asked by it. */
  #isUntouched = true
  /** Calls off the wait for another connection. */
  #moving: Canceller | null = null
  /** When the database last answered a statement of it; null when it was asked nothing. */
  answeredAt: number | null = null
  #guard: (() => boolean) | null = null
  #interrupt: ((why: Why) => void) | null = null
  #busy = 0
  #onIdle: (() => void)[] | null = null
  /** Where the pool's list of leases has it; null for that of afterConnect, which is in none. */
  place: Entry<Lease> | null = null
  /** Its connection was lost: it has none, until it gets another one. */
  isMoving = false
  /** Settles when it has been taken back, from the moment on in which that begins. */
  ending: Promise<void> | null = null
  /** Lets the next writer take a connection, where they queue for that. */
  leaveQueue: Unlock | null = null
  /** Stops the watch over its limits. */
  stopWatching: (() => void) | null = null
  /** What the leak detector knows of it, if that is on. */
  watch: { place: Entry<Lease>; since: number; isReported: boolean; isReclaimed: boolean } | null = null

  /** `scope`: whose it is; `stack`: where it was taken. */
  constructor(pooled: PooledSession, context: LeaseContext, scope: Scope | undefined, stack: Error | null) {
    this.pooled = pooled
    this.#context = context
    this.#scope = scope
    this.#stack = stack
  }

  get session(): Session {
    return this.pooled.session
  }

  /** Whether it is neither given back nor being taken back. */
  get isOut(): boolean {
    return this.place?.isIn === true && this.ending === null
  }

  /** The label of the scope that took it. */
  get label(): string | null {
    return this.#scope?.label ?? null
  }

  /**
   * Returns the driver's connection, which is cleaned or closed afterwards: nobody sees what is done with it.
   *
   * @throws TransactionClosedError when it was given back, and may be somebody else's by now
   */
  expose(): object {
    this.refuseIfOver()
    this.isChanged = true
    this.isExposed = true
    this.session.exposed?.()
    return this.session.raw
  }

  /** It was given back, or taken back. */
  get isOver(): boolean {
    return this.#over !== null
  }

  /** True while statements can be run: it was not given back, and the connection is whole. */
  get isUsable(): boolean {
    return this.#over === null && this.session.broken === null
  }

  get inTransaction(): boolean {
    return this.isUsable && this.session.inTransaction
  }

  /** Cuts the connection off, unless it is somebody else's by now. */
  destroy(): void {
    if (this.#over === null) this.session.destroy()
  }

  /** Rolls back what is open, unless the connection is somebody else's by now. */
  async reset(): Promise<void> {
    if (this.isUsable) await this.session.reset()
  }

  /** @throws TransactionClosedError when it was given back, or taken back */
  refuseIfOver(): void {
    if (this.#over !== null) throw this.#over('')
  }

  /** Refuses all further statements; `why` makes their errors. */
  end(why: Why = tooLate): void {
    this.#over ??= why
  }

  /** For several, at a moment that is the same for all: to write out a place takes long enough to turn their order around. */
  describe(now = performance.now()): Holder {
    return {
      label: this.label,
      // Written out for those who ask: that takes far longer than to remember it.
      site: siteOf(this.#stack),
      heldMillis: now - this.since,
      sql: this.#sql,
      inTransaction: this.session.inTransaction,
    }
  }

  /**
   * Runs work that sends one statement or several, as Knex's schema builder does. From the moment in which `isOver`
   * says so, its further statements are refused: the transaction that they belong to has been rolled back.
   */
  async section<T>(isOver: (() => boolean) | null, limits: Limits, work: Work<T>): Promise<T> {
    this.enter(isOver, limits)
    try {
      return await work(this, limits)
    } finally {
      this.leave()
    }
  }

  /** Begins what a section is, for one who ends it by {@link leave}. */
  enter(isOver: (() => boolean) | null, limits: Limits): void {
    this.#guard = isOver
    this.limits = limits
    this.#busy += 1
  }

  leave(): void {
    this.#guard = null
    this.limits = Limits.none
    this.#rest()
  }

  /**
   * Runs one statement. When its limits run out it is cancelled on the server, and this settles only after the
   * cancel is over, so that nothing that comes later is hit by it.
   */
  run(statement: Statement, limits: Limits): Promise<Result> {
    if (this.transactions > 0) refuseControl(statement)
    if (statement.facts.changesSession) this.isChanged = true
    return this.runOwn(statement, limits)
  }

  /** The same for the statements that open transactions. */
  runOwn(statement: Statement, limits: Limits): Promise<Result> {
    return this.#watched(statement, limits, () => this.session.run(statement))
  }

  /**
   * Runs a statement that must be seen through, such as COMMIT: nobody can cancel it. If the server does not answer
   * within the statement timeout, or shortly after the deadline of `limits`, the connection is cut, since nobody can say
   * what became of it.
   */
  async runThrough(statement: Statement, limits: Limits = Limits.none): Promise<Result> {
    this.refuseIfOver()
    const done = cutPast(limits, this.#context, () => this.#cut())
    const started = performance.now()
    let error: DatabaseError | undefined
    this.#sql = statement.sql
    this.#busy += 1
    try {
      return await this.session.run(statement)
    } catch (cause) {
      error = this.#context.dialect.translate(cause, statement.sql)
      throw error
    } finally {
      done()
      this.#sql = null
      this.#rest()
      this.#ended(statement.sql, started, error)
    }
  }

  /** Begins a transaction, where the session has a way to keep that until its first statement. */
  begin(sql: string, limits: Limits): void {
    this.refuseIfOver()
    limits.check()
    this.session.begin?.(sql)
    this.#tell(sql, 0, undefined)
  }

  openCursor(statement: Statement, alone: boolean, limits: Limits): Promise<Cursor> {
    if (this.transactions > 0) refuseControl(statement)
    if (statement.facts.changesSession) this.isChanged = true
    return this.#watched(statement, limits, () => this.session.openCursor(statement, alone))
  }

  read(cursor: Cursor, count: number | null, statement: Statement, limits: Limits): Promise<readonly Row[]> {
    return this.#watched(statement, limits, () => cursor.read(count))
  }

  /** Nobody calls it off, but past the deadline of `limits` a silent server is not waited for. */
  async close(cursor: Cursor, statement: Statement, limits: Limits): Promise<void> {
    const done = cutPast(limits, this.#context, () => this.#cut())
    try {
      await this.#watched(statement, Limits.none, () => cursor.close())
    } finally {
      done()
    }
  }

  async #watched<T>(statement: Statement, limits: Limits, work: () => Promise<T>): Promise<T> {
    const sql = shownSql(statement)
    this.refuseIfOver()
    if (this.#guard?.() === true) throw tooLate()
    limits.check()
    const { statementTimeoutMillis, dialect } = this.#context
    const started = performance.now()
    let ended: Why | undefined
    let cancelling: Promise<void> | undefined
    let hasEnded = noop
    const bounded = limitsOf(statement, limits, statementTimeoutMillis, started)
    const end = (why: Why): void => {
      if (ended !== undefined) return
      ended = why
      cancelling = this.#cancel()
      hasEnded = startWatchdog(dialect.cancelGraceMillis, () => this.#cut())
    }
    const stopWatching = bounded.watch((expiry) => {
      end((_sql, cause) => bounded.error(expiry, cause))
    })
    this.#interrupt = end
    this.#sql = sql
    this.#busy += 1
    const isFirst = this.#isUntouched
    this.#isUntouched = false
    let error: DatabaseError | undefined
    try {
      try {
        return await work()
      } catch (cause) {
        if (!isFirst || ended !== undefined || !(await this.#restartOnNewConnection(bounded))) throw cause
        this.refuseIfOver()
        if (ended !== undefined) throw cause
        return await work()
      }
    } catch (cause) {
      const own = withoutValues(dialect.translate(cause, sql), statement.bindings)
      // It may have failed by itself in the very moment in which its time was up.
      const isCut = own instanceof QueryCanceledError || this.session.broken !== null
      error = ended !== undefined && isCut ? ended(sql, cause) : own
      throw error
    } finally {
      stopWatching()
      hasEnded()
      // Of a connection that is gone nobody innocent can be hit.
      if (cancelling !== undefined && this.session.broken === null) await cancelling
      this.#sql = null
      this.#interrupt = null
      this.#rest()
      this.#ended(sql, started, error)
    }
  }

  #ended(sql: string, started: number, error: DatabaseError | undefined): void {
    const now = performance.now()
    if (this.session.broken === null) this.answeredAt = now
    this.#tell(sql, now - started, error)
  }

  #tell(sql: string, durationMillis: number, error: DatabaseError | undefined): void {
    countStatement(durationMillis)
    if (!this.#context.events.hasListeners('query')) return
    this.#context.events.tell('query', {
      sql,
      durationMillis,
      label: this.label,
      ...(error && { error }),
    })
  }

  /** Whether a transaction whose first statement met a dead connection has begun on another one. */
  async #restartOnNewConnection(limits: Limits): Promise<boolean> {
    const { unansweredBegin = null } = this.session
    if (unansweredBegin === null || this.isExposed) return false
    const moving = (this.#moving = new Canceller(tooLate))
    try {
      const pooled = await this.#context.exchange(this, limits.and(Limits.until(moving)))
      pooled?.session.begin?.(unansweredBegin)
      return pooled !== null
    } finally {
      this.#moving = null
    }
  }

  /** Hangs up on a server that does not answer. */
  #cut(): void {
    this.session.destroy()
    this.#context.silent()
  }

  async #cancel(): Promise<void> {
    this.#moving?.abort()
    try {
      await this.session.cancel()
    } catch {
      // The server cannot be asked to stop, so all that is left is to hang up.
      this.session.destroy()
    }
  }

  /** Something is run on it now. */
  get isBusy(): boolean {
    return this.#busy > 0
  }

  /** Cancels what runs now, as far as it can be, and resolves when nothing does any more. `why` makes its error. */
  async interrupt(why: Why): Promise<void> {
    if (this.#busy === 0) return
    const idle = new Promise<void>((resolve) => (this.#onIdle ??= []).push(resolve))
    this.#interrupt?.(why)
    await idle
  }

  #rest(): void {
    this.#busy -= 1
    if (this.#busy > 0 || this.#onIdle === null) return
    for (const idle of this.#onIdle.splice(0)) idle()
  }
}
