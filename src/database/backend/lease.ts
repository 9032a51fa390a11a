/** A connection taken out of the pool: who took it, since when, and what it runs now. Every statement passes here. */
import type { Events } from '../events'
import type { DatabaseError, Holder } from '../errors'
import { QueryCanceledError, TransactionClosedError, TransactionError } from '../errors'
import { type Expiry, Limits, LONGEST_TIMER_MILLIS, timedOut } from '../limits'
import type { Scope } from '../scope'
import {
  type Cursor,
  type Dialect,
  type Result,
  type Row,
  type Session,
  shownSql,
  type Statement,
} from './dialect'

/** A cancelled statement that has not ended after this long is on a connection that is lost. */
const CANCEL_GRACE_MILLIS = 5000

/** Statements that open or end a transaction. */
const CONTROL = new Set([
  'BEGIN',
  'START',
  'COMMIT',
  'END',
  'ROLLBACK',
  'ABORT',
  'PREPARE',
  'SAVEPOINT',
  'RELEASE',
])

/** Bound texts that the database quotes back. Shorter ones would hide words that are none of them. */
const SHORTEST_HIDDEN = 3

function withoutValues<E extends DatabaseError>(error: E, bindings: readonly unknown[]): E {
  const texts = bindings.filter(
    (value) => typeof value === 'string' && value.length >= SHORTEST_HIDDEN,
  ) as string[]
  for (const text of texts) {
    if (!error.message.includes(text)) continue
    const hidden = error.message.replaceAll(text, '…')
    error.stack = error.stack?.replace(error.message, hidden) ?? ''
    error.message = hidden
  }
  return error
}

function controlRefused(sql: string): TransactionError {
  return new TransactionError(
    `'${sql.trim()}' cannot be run inside a transaction of millpond, which would not know of it. ` +
      'Use commit() and rollback() of the transaction, and transaction() for a savepoint.',
  )
}

export interface LeaseContext {
  readonly dialect: Dialect
  readonly events: Events
  readonly statementTimeoutMillis: number
}

export class Lease {
  readonly session: Session
  /** How many transactions of ours are open on it, one inside the other. */
  transactions = 0
  /** Those of the section that runs now, for statements that Knex makes on its way. */
  limits = Limits.none
  readonly #context: LeaseContext
  readonly #scope: Scope | undefined
  readonly #since = performance.now()
  #sql: string | null = null
  #returned = false
  #guard: (() => boolean) | null = null
  #interrupt: (() => void) | null = null
  #busy = 0
  readonly #onIdle: (() => void)[] = []

  constructor(session: Session, context: LeaseContext, scope: Scope | undefined) {
    this.session = session
    this.#context = context
    this.#scope = scope
  }

  /**
   * Runs work that sends one statement or several, as Knex's schema builder does. From the moment in which `isOver`
   * says so, its further statements are refused: the transaction that they belong to has been rolled back.
   */
  async section<T>(isOver: () => boolean, limits: Limits, work: (lease: Lease) => Promise<T>): Promise<T> {
    this.#guard = isOver
    this.limits = limits
    this.#busy += 1
    try {
      return await work(this)
    } finally {
      this.#guard = null
      this.limits = Limits.none
      this.#rest()
    }
  }

  /**
   * Runs one statement. When its limits run out it is cancelled on the server, and this settles only after the
   * cancel is over, so that nothing that comes later is hit by it.
   */
  async run(statement: Statement, limits: Limits): Promise<Result> {
    if (this.transactions > 0 && CONTROL.has(statement.facts.verb)) throw controlRefused(statement.sql)
    return this.runOwn(statement, limits)
  }

  /** The same for the statements that open transactions. */
  runOwn(statement: Statement, limits: Limits): Promise<Result> {
    return this.#watched(statement, limits, () => this.session.run(statement))
  }

  /**
   * Runs a statement that must be seen through, such as COMMIT: nobody can cancel it. If the server does not answer
   * within the statement timeout, the connection is cut, since nobody can say what became of it.
   */
  async runThrough(statement: Statement): Promise<Result> {
    this.#refuseIfEnded(false)
    // However short statements are to be, this one gets some time.
    const patience = Math.max(this.#context.statementTimeoutMillis, CANCEL_GRACE_MILLIS)
    const timer =
      patience > LONGEST_TIMER_MILLIS ? undefined : setTimeout(() => this.session.destroy(), patience)
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
      clearTimeout(timer)
      this.#sql = null
      this.#rest()
      this.#tell(statement.sql, started, error)
    }
  }

  openCursor(statement: Statement, alone: boolean, limits: Limits): Promise<Cursor> {
    return this.#watched(statement, limits, () => this.session.openCursor(statement, alone))
  }

  read(cursor: Cursor, count: number, statement: Statement, limits: Limits): Promise<readonly Row[]> {
    return this.#watched(statement, limits, () => cursor.read(count))
  }

  close(cursor: Cursor, statement: Statement): Promise<void> {
    return this.#watched(statement, Limits.none, () => cursor.close())
  }

  async #watched<T>(statement: Statement, limits: Limits, work: () => Promise<T>): Promise<T> {
    const sql = shownSql(statement)
    this.#refuseIfEnded(this.#guard?.() === true)
    limits.check()
    const { statementTimeoutMillis } = this.#context
    const started = performance.now()
    let expiry: Expiry | undefined
    let cancelling: Promise<void> | undefined
    let hangUp: NodeJS.Timeout | undefined
    const bounded = limits.within(statementTimeoutMillis, (cause) =>
      timedOut(sql, `statement timeout of ${statementTimeoutMillis} ms`, cause),
    )
    const expire = (reason: Expiry): void => {
      if (expiry !== undefined) return
      expiry = reason
      cancelling = this.#cancel()
      hangUp = setTimeout(() => {
        this.session.destroy()
      }, CANCEL_GRACE_MILLIS)
    }
    const stopWatching = bounded.watch(expire)
    this.#interrupt = () => {
      expire({
        kind: 'aborted',
        reason: new TransactionClosedError('Its transaction or connection has ended.'),
      })
    }
    this.#sql = sql
    let error: DatabaseError | undefined
    try {
      return await work()
    } catch (cause) {
      const own = withoutValues(this.#context.dialect.translate(cause, sql), statement.bindings)
      // It may have failed by itself in the very moment in which its time was up.
      const isCut = own instanceof QueryCanceledError || this.session.broken !== null
      error = expiry !== undefined && isCut ? bounded.error(expiry, cause) : own
      throw error
    } finally {
      stopWatching()
      clearTimeout(hangUp)
      await cancelling
      this.#sql = null
      this.#interrupt = null
      this.#tell(sql, started, error)
    }
  }

  #refuseIfEnded(isOver: boolean): void {
    if (!this.#returned && !isOver) return
    throw new TransactionClosedError(
      'The statement did not run: its transaction has ended, or its connection has gone back to the pool. Something ' +
        'still runs after the work that it belongs to; await it there, or wrap it in database.detached().',
    )
  }

  #tell(sql: string, started: number, error: DatabaseError | undefined): void {
    this.#context.events.tell('query', {
      sql,
      durationMillis: performance.now() - started,
      label: this.#scope?.label ?? null,
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

  /** The borrower is done: nothing may run through this lease any more. */
  end(): void {
    this.#returned = true
  }

  describe(): Holder {
    return {
      label: this.#scope?.label ?? null,
      site: null,
      heldMillis: performance.now() - this.#since,
      sql: this.#sql,
      inTransaction: this.session.inTransaction,
    }
  }
}
