/** The BEGIN of a session's transaction: kept until the first statement, sent with it, and sent again where that was refused. */
import type { RawConnection } from './pg-client'
import type { Session } from '../driver/session'
import type { Statement } from '../driver/statement'
import { ownStatement, sendControl } from './simple-query'

/** The part of a session that is used here. */
interface BeginSession extends Pick<Session, 'broken' | 'destroy'> {
  readonly raw: RawConnection
  /** True once the caller has read `connection.raw`, and may send statements that bypass the session. */
  readonly isExposed: boolean
  waitFor<T>(sent: Promise<T>, statement: Statement): Promise<T>
}

class State {
  /**
   * `deferred`: kept until the first statement; `sent`: not answered yet; `fresh`: answered, and nothing else has run, so
   * that the transaction can be restarted; `first`: its first statement runs, or has just run; `none`: no transaction, or one that cannot be restarted.
   */
  readonly name: 'none' | 'deferred' | 'sent' | 'fresh' | 'first'
  readonly sql: string
  /** Settles when a BEGIN that was sent alone is answered; else null. */
  readonly answer: Promise<void> | null

  constructor(name: State['name'], sql: string, answer: Promise<void> | null = null) {
    this.name = name
    this.sql = sql
    this.answer = answer
  }
}

const NONE = new State('none', '')

/** The BEGIN that goes with a query. */
export interface Begin {
  /** Sent in front of the query; null if there is none. */
  readonly sql: string | null
  /** Restarts the transaction if the query is refused; null if something else may have run in it. */
  readonly restartSql: string | null
}

const NO_BEGIN: Begin = { sql: null, restartSql: null }

/** Defers BEGIN as pgjdbc does: it saves a round trip, and `now()` is the time of the first statement. */
export class DeferredBegin {
  readonly #session: BeginSession
  #state = NONE

  constructor(session: BeginSession) {
    this.#session = session
  }

  get isDeferred(): boolean {
    return this.#state.name === 'deferred'
  }

  /** True in a transaction of which the server has not told yet. */
  get isPending(): boolean {
    return this.isDeferred || this.#state.name === 'sent'
  }

  get unansweredSql(): string | null {
    return this.isPending && this.#session.broken !== null ? this.#state.sql : null
  }

  /** Settles when a BEGIN that was sent alone is answered; null if none is under way. */
  get answer(): Promise<void> | null {
    return this.#state.answer
  }

  defer(sql: string): void {
    this.#state = new State('deferred', sql)
  }

  /** Called when BEGIN was answered, or need not be sent. */
  forget(): void {
    this.#state = NONE
  }

  /** Called when the server has accepted a statement, and so the BEGIN that came with it. */
  onStatementStarted(): void {
    if (this.#state.name !== 'first') this.forget()
  }

  /** Notes that a statement runs in the transaction: a restart would lose its effect, unless it is refused. */
  forbidRestart(): void {
    const { name, sql } = this.#state
    if (name === 'fresh') this.#state = new State('first', sql)
    else if (name === 'first') this.forget()
  }

  /** Restarts a transaction whose first statement was refused; null if others have run in it. */
  get firstSql(): string | null {
    return this.#state.name === 'first' ? this.#state.sql : null
  }

  /** Keeps a BEGIN that was answered, unless the caller may have sent something in the transaction already. */
  allowRestart(sql: string | null): void {
    const { isExposed, broken } = this.#session
    if (sql !== null && !isExposed && broken === null) this.#state = new State('fresh', sql)
  }

  /** Returns the BEGIN that can restart the transaction; null if it is sent inside of one, where it begins nothing. */
  restartSqlOf(sql: string): string | null {
    return this.#session.raw.getTransactionStatus() === 'I' ? sql : null
  }

  /** Hands over what goes with the query that is sent now. */
  take(): Begin {
    const { name, sql } = this.#state
    this.#state = name === 'deferred' ? new State('sent', sql) : NONE
    if (name === 'none' || name === 'first') return NO_BEGIN
    return name === 'deferred' ? { sql, restartSql: this.restartSqlOf(sql) } : { sql: null, restartSql: sql }
  }

  /** Sends BEGIN alone. Statements that are run meanwhile have to wait for its answer. */
  send(): Promise<void> {
    const { sql } = this.#state
    const answer = this.#send(sql)
    this.#state = new State('sent', sql, answer)
    return answer
  }

  async #send(sql: string): Promise<void> {
    const session = this.#session
    const restartSql = this.restartSqlOf(sql)
    const statement = ownStatement(sql)
    const sent = sendControl(session.raw, sql, () => {
      this.closeIfExposed()
    })
    try {
      await session.waitFor(sent, statement)
    } finally {
      this.onAnswer()
    }
    this.allowRestart(restartSql)
  }

  /** Called when the first statement of a transaction was answered, or failed. */
  onAnswer(): void {
    const { broken, raw } = this.#session
    if (broken !== null) {
      // Nobody has to wait for the answer any more.
      if (this.#state.answer !== null) this.#state = new State('sent', this.#state.sql)
      return
    }
    this.forget()
    // BEGIN has failed, so that later statements would be committed at once.
    if (raw.getTransactionStatus() === 'I') this.#session.destroy()
  }

  /** Destroys an exposed session whose BEGIN was refused: what the caller has sent behind it would be committed at once. */
  closeIfExposed(): void {
    if (this.#state.name === 'sent' && this.#session.isExposed) this.#session.destroy()
  }

  /** Begins once more, with the next statement, after the first one was refused, which has aborted the transaction. */
  async restart(sql: string): Promise<void> {
    const { raw } = this.#session
    const isOpen = raw.getTransactionStatus() !== 'I'
    // Before ROLLBACK is sent, so that what the caller sends behind it by `connection.raw` comes after BEGIN.
    this.defer(sql)
    const rollback = ownStatement('ROLLBACK')
    if (isOpen) await this.#session.waitFor(sendControl(raw, 'ROLLBACK'), rollback)
  }
}
