/** A connection taken out of the pool: who took it, since when, and what it runs now. Every statement passes here. */
import type { DatabaseError, Holder } from '../errors'
import { QueryCanceledError, TransactionClosedError } from '../errors'
import { type Expiry, Limits } from '../limits'
import { countStatement, type Scope } from '../scope'
import { siteOf } from '../site'
import { type Cursor, type Result, type Row, type Session, shownSql, type Statement } from './dialect'
import { refuseControl, tooLate } from './control'
import { withoutValues } from './driver-error'
import type { LeaseContext } from './lease-context'
import { limitsOf, patienceFor } from './statement-limits'
import { unlessDoneIn } from './within'
import { LONGEST_TIMER_MILLIS } from '../when-past'

const neverMind = (): void => undefined

export class Lease {
  readonly session: Session
  /** How many transactions of ours are open on it, one inside the other. */
  transactions = 0
  /** Its user has had the driver's connection in his hands. */
  isExposed = false
  /** Those of the section that runs now, for statements that Knex makes on its way. */
  limits = Limits.none
  readonly #context: LeaseContext
  readonly #scope: Scope | undefined
  readonly #stack: Error | null
  readonly #since = performance.now()
  #sql: string | null = null
  /** Why nothing may run through it any more. */
  #over: (() => DatabaseError) | null = null
  #isChanged = false
  /** When the database last answered a statement of it; null when it was asked nothing. */
  answeredAt: number | null = null
  #guard: (() => boolean) | null = null
  #interrupt: (() => void) | null = null
  #busy = 0
  readonly #onIdle: (() => void)[] = []

  /** `scope`: whose it is; `stack`: where it was taken. */
  constructor(session: Session, context: LeaseContext, scope: Scope | undefined, stack: Error | null) {
    this.session = session
    this.#context = context
    this.#scope = scope
    this.#stack = stack
  }

  /** What its user is called. */
  get label(): string | null {
    return this.#scope?.label ?? null
  }

  /**
   * The driver's connection. Whoever has it may do with it what he likes, so that it must be cleaned afterwards.
   *
   * @throws TransactionClosedError when it was given back, and may be somebody else's by now
   */
  expose(): object {
    this.refuseIfOver()
    this.#isChanged = true
    this.isExposed = true
    this.session.exposed?.()
    return this.session.raw
  }

  /** True when its user may have set something on the connection that the next one must not find there. */
  get isChanged(): boolean {
    return this.#isChanged
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

  /**
   * Runs work that sends one statement or several, as Knex's schema builder does. From the moment in which `isOver`
   * says so, its further statements are refused: the transaction that they belong to has been rolled back.
   */
  async section<T>(
    isOver: (() => boolean) | null,
    limits: Limits,
    work: (lease: Lease) => Promise<T>,
  ): Promise<T> {
    this.enter(isOver, limits)
    try {
      return await work(this)
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
    if (statement.facts.changesSession) this.#isChanged = true
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
    const done = this.#cutPast(limits)
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
      if (this.session.broken === null) this.answeredAt = performance.now()
      this.#rest()
      this.#tell(statement.sql, started, error)
    }
  }

  openCursor(statement: Statement, alone: boolean, limits: Limits): Promise<Cursor> {
    if (this.transactions > 0) refuseControl(statement)
    if (statement.facts.changesSession) this.#isChanged = true
    return this.#watched(statement, limits, () => this.session.openCursor(statement, alone))
  }

  read(cursor: Cursor, count: number | null, statement: Statement, limits: Limits): Promise<readonly Row[]> {
    return this.#watched(statement, limits, () => cursor.read(count))
  }

  /** Nobody calls it off, but past the deadline of `limits` a silent server is not waited for. */
  async close(cursor: Cursor, statement: Statement, limits: Limits): Promise<void> {
    const done = this.#cutPast(limits)
    try {
      await this.#watched(statement, Limits.none, () => cursor.close())
    } finally {
      done()
    }
  }

  /** Cuts the connection when a statement that is seen through gets no answer. */
  #cutPast({ deadline }: Limits): () => void {
    const { statementTimeoutMillis, dialect } = this.#context
    const patience = patienceFor(deadline, statementTimeoutMillis, dialect.cancelGraceMillis)
    return patience > LONGEST_TIMER_MILLIS ? neverMind : unlessDoneIn(patience, () => this.session.destroy())
  }

  async #watched<T>(statement: Statement, limits: Limits, work: () => Promise<T>): Promise<T> {
    const sql = shownSql(statement)
    this.refuseIfOver()
    if (this.#guard?.() === true) throw tooLate()
    limits.check()
    const { statementTimeoutMillis, dialect } = this.#context
    const started = performance.now()
    let expiry: Expiry | undefined
    let cancelling: Promise<void> | undefined
    let hasEnded = neverMind
    const bounded = limitsOf(statement, limits, statementTimeoutMillis)
    const expire = (reason: Expiry): void => {
      if (expiry !== undefined) return
      expiry = reason
      cancelling = this.#cancel()
      hasEnded = unlessDoneIn(dialect.cancelGraceMillis, () => this.session.destroy())
    }
    const stopWatching = bounded.watch(expire)
    this.#interrupt = () => {
      expire({
        kind: 'aborted',
        reason: new TransactionClosedError('Its transaction or connection has ended.'),
      })
    }
    this.#sql = sql
    this.#busy += 1
    let error: DatabaseError | undefined
    try {
      return await work()
    } catch (cause) {
      const own = withoutValues(dialect.translate(cause, sql), statement.bindings)
      // It may have failed by itself in the very moment in which its time was up.
      const isCut = own instanceof QueryCanceledError || this.session.broken !== null
      error = expiry !== undefined && isCut ? bounded.error(expiry, cause) : own
      throw error
    } finally {
      stopWatching()
      hasEnded()
      // Of a connection that is gone nobody innocent can be hit.
      if (cancelling !== undefined && this.session.broken === null) await cancelling
      this.#sql = null
      if (this.session.broken === null) this.answeredAt = performance.now()
      this.#interrupt = null
      this.#rest()
      this.#tell(sql, started, error)
    }
  }

  /** @throws TransactionClosedError when it was given back, or taken back */
  refuseIfOver(): void {
    if (this.#over !== null) throw this.#over()
  }

  #tell(sql: string, started: number, error: DatabaseError | undefined): void {
    const durationMillis = performance.now() - started
    countStatement(durationMillis)
    if (!this.#context.events.isHeard('query')) return
    this.#context.events.tell('query', {
      sql,
      durationMillis,
      label: this.label,
      ...(error && { error }),
    })
  }

  async #cancel(): Promise<void> {
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

  /** Cancels what runs now, as far as it can be, and resolves when nothing does any more. */
  async interrupt(): Promise<void> {
    if (this.#busy === 0) return
    const idle = new Promise<void>((resolve) => this.#onIdle.push(resolve))
    this.#interrupt?.()
    await idle
  }

  #rest(): void {
    this.#busy -= 1
    if (this.#busy === 0) for (const idle of this.#onIdle.splice(0)) idle()
  }

  /** The borrower is done: nothing may run through this lease any more, and `why` makes what he is told. */
  end(why = tooLate): void {
    this.#over ??= why
  }

  get heldMillis(): number {
    return performance.now() - this.#since
  }

  /** For several, at a moment that is the same for all: to write out a place takes long enough to turn their order around. */
  describe(now = performance.now()): Holder {
    return {
      label: this.label,
      // Written out for those who ask: that takes far longer than to remember it.
      site: siteOf(this.#stack),
      heldMillis: now - this.#since,
      sql: this.#sql,
      inTransaction: this.session.inTransaction,
    }
  }
}
