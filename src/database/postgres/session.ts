/** A session on PostgreSQL: runs statements on one connection and tracks its state, so that it is never lent in an unknown one. */
import { QueryCanceledError } from '../errors'
import type { Cursor, Result, Statement, InsertTarget } from '../driver/statement'
import type { Outcome, Session } from '../driver/session'
import type { RawConnection } from './client'
import { PostgresConnection } from './connection'
import { PostgresCopies } from './copy'
import { requestCancel } from './cancel-request'
import { pauseQueue, lastSubmitted, isRunningAnother, type QueuedQuery, withdraw } from './client-queue'
import { PostgresCursors } from './cursors'
import { ownStatement } from './own-statement'
import { limitError } from './errors'
import { outcomeOf } from './transaction-outcome'
import { type ArrayTypes, SessionTypeParsers } from './array-types'
import { type FailedRun, StatementCache } from './statement-cache'
import type { PreparedQuery } from './prepared-query'
import {
  sendQuery,
  sendControl,
  controlResult,
  hasOwnParsers,
  isControl,
  refuseStream,
  toAnswer,
} from './simple-query'
import { withAnswerTimeout, waitForReady } from './ready-for-query'
import { parseRemainingTexts, type PreparedResult } from './row-decoder'
import { APPLY_SETTINGS, type SessionSettings } from './session-settings'
import { waitAtMost } from '../context/timers'

const CANCEL_EVERY_MILLIS = 50

/** Statements that write, and so give their transaction an id. Writes of functions that a SELECT calls are not noticed. */
const WRITES = new Set(['INSERT', 'UPDATE', 'DELETE', 'MERGE', 'CREATE', 'ALTER', 'DROP', 'TRUNCATE'])

export class PostgresSession extends PostgresConnection implements Session {
  #transactionId: string | null = null
  /**
   * The state of BEGIN. `deferred`: kept until the first statement; `sent`: not answered yet; `fresh`: answered, and nothing
   * else has run, so that the transaction can be restarted; `none`: no transaction, or one that cannot be restarted.
   */
  #begin: 'none' | 'deferred' | 'sent' | 'fresh' = 'none'
  #beginSql = ''
  /** Settles when a BEGIN that was sent alone is answered; else null. */
  #sentBegin: Promise<void> | null = null
  /** True once the caller has read `connection.raw`, and may send statements that bypass this class. */
  isExposed = false
  /** The query that pg was given for the statement that runs; set only while `isExposed`. */
  #lastSubmitted: QueuedQuery | null = null
  /** How often {@link cancel} was called. */
  #cancelCount = 0
  readonly #cursors = new PostgresCursors(this)
  readonly #copies = new PostgresCopies(this)
  /** Null if this session prepares no statements. */
  #statementCache: StatementCache | null

  readonly #settings: SessionSettings

  readonly types: SessionTypeParsers

  /** `arrays`: the array types of this database; `mostPrepared`: how many prepared statements are kept, 0 for none. */
  constructor(raw: RawConnection, settings: SessionSettings, arrays: ArrayTypes, mostPrepared: number) {
    super(raw)
    this.#settings = settings
    this.types = new SessionTypeParsers(raw, arrays)
    const onStarted = (): void => {
      this.#setBegin('none')
    }
    this.#statementCache =
      mostPrepared === 0 ? null : new StatementCache(raw, this.types, mostPrepared, onStarted)
  }

  /** The transaction status as the server reports it: idle, in a transaction, in a failed transaction. */
  get status(): 'I' | 'T' | 'E' | null {
    if (this.#begin === 'deferred' || this.#begin === 'sent') return 'T'
    return this.raw.getTransactionStatus()
  }

  get inTransaction(): boolean {
    return this.status === 'T' || this.status === 'E'
  }

  get isClean(): boolean {
    return this.running === null && !this.inTransaction && !this.#cursors.hasHeld
  }

  get transactionId(): string | null {
    return this.#transactionId
  }

  /** Defers BEGIN until the first statement, as pgjdbc does: it saves a round trip, and `now()` is the time of that statement. */
  begin(sql: string): void {
    this.#transactionId = null
    this.#setBegin('deferred', sql)
  }

  #setBegin(state: 'none' | 'deferred' | 'sent' | 'fresh', sql = ''): void {
    this.#begin = state
    this.#beginSql = sql
  }

  get isBeginDeferred(): boolean {
    return this.#begin === 'deferred'
  }

  get unansweredBegin(): string | null {
    const isUnanswered = this.#begin === 'deferred' || this.#begin === 'sent'
    return this.broken !== null && isUnanswered ? this.#beginSql : null
  }

  run(statement: Statement): Promise<Result> {
    const refused = limitError(statement)
    if (refused !== null) return Promise.reject(refused)
    if (this.#sentBegin !== null) return this.#runAfterSentBegin(this.#sentBegin, statement)
    if (!this.inTransaction) this.#transactionId = null
    const prepared = this.#statementCache
    if (prepared?.accepts(statement) === true) return this.#runPrepared(prepared, statement)
    if (this.#begin === 'deferred') return this.#runAfterDeferredBegin(this.#beginSql, statement)
    this.#forbidRestart()
    if (isControl(statement)) return this.#runControl(statement)
    const { insertsInto } = statement
    return insertsInto === undefined ? this.#runUnprepared(statement) : this.#runCopy(statement, insertsInto)
  }

  /** Sends the deferred BEGIN alone, then runs the statement. A COMMIT or ROLLBACK needs neither: nothing has begun. */
  async #runAfterDeferredBegin(begin: string, statement: Statement): Promise<Result> {
    if (statement.sql === 'COMMIT' || statement.sql === 'ROLLBACK') {
      this.#setBegin('none')
      return controlResult(statement.sql)
    }
    return this.#runAfterSentBegin(this.#sendBegin(begin), statement)
  }

  /** Runs the statement when BEGIN is answered, unless it is cancelled meanwhile: the server cannot stop an unsent one. */
  async #runAfterSentBegin(sentBegin: Promise<void>, statement: Statement): Promise<Result> {
    const cancelCount = this.#cancelCount
    await sentBegin
    if (this.#cancelCount > cancelCount)
      throw new QueryCanceledError('The query was cancelled before it was sent.', statement.sql)
    return this.run(statement)
  }

  /** Sends BEGIN alone. Statements that are run meanwhile wait for its answer. */
  #sendBegin(begin: string): Promise<void> {
    this.#setBegin('sent', begin)
    const restartSql = this.#restartSqlOf(begin)
    const send = async (): Promise<void> => {
      try {
        await this.#waitFor(
          sendControl(this.raw, begin, () => this.#closeIfExposed()),
          ownStatement(begin),
        )
        this.#onFirstAnswer()
        this.#allowRestart(restartSql)
      } catch (error) {
        this.#onFirstAnswer()
        throw error
      } finally {
        this.#sentBegin = null
      }
    }
    this.#sentBegin = send()
    return this.#sentBegin
  }

  /** Returns the BEGIN that can restart the transaction; null if it is sent inside of one, where it begins nothing. */
  #restartSqlOf(begin: string): string | null {
    return this.raw.getTransactionStatus() === 'I' ? begin : null
  }

  /** Keeps the BEGIN, unless the caller may have sent something in the transaction already. */
  #allowRestart(restartSql: string | null): void {
    if (restartSql !== null && !this.isExposed && this.broken === null) this.#setBegin('fresh', restartSql)
  }

  /** Notes that a statement has run in the transaction: a restart would lose its effect. */
  #forbidRestart(): void {
    if (this.#begin === 'fresh') this.#setBegin('none')
  }

  /** Destroys an exposed session when BEGIN was refused: what the caller has sent behind it would be committed at once. */
  #closeIfExposed(): void {
    if (this.isExposed) this.destroy()
  }

  /** Called when the first statement of a transaction was answered, or failed. */
  #onFirstAnswer(): void {
    if (this.broken !== null) return
    this.#setBegin('none')
    // BEGIN has failed, so that later statements would be committed at once.
    if (this.raw.getTransactionStatus() === 'I') this.destroy()
  }

  async #runCopy(statement: Statement, into: InsertTarget): Promise<Result> {
    const copied = await this.#copies.run(statement, into, this.#needsTransactionId(statement))
    if (copied === null) return this.#runUnprepared(statement)
    this.#transactionId ??= copied.transactionId
    return copied.result
  }

  async #runControl(statement: Statement): Promise<Result> {
    const restartSql = statement.facts.verb === 'BEGIN' ? this.#restartSqlOf(statement.sql) : null
    const result = await this.#waitFor(sendControl(this.raw, statement.sql), statement)
    this.#allowRestart(restartSql)
    return result
  }

  async #runUnprepared(statement: Statement): Promise<Result> {
    refuseStream(statement)
    const asksTransactionId = this.#needsTransactionId(statement)
    const native = await this.#waitFor(sendQuery(this.raw, statement, asksTransactionId), statement)
    if (!hasOwnParsers(statement))
      for (const each of [native].flat()) await parseRemainingTexts(each.rows, each, this)
    const answer = toAnswer(native, asksTransactionId)
    if (asksTransactionId) this.#transactionId = answer.transactionId
    return answer.result
  }

  /** Returns whether to ask for the transaction's id, which the server assigns at the first statement that writes. */
  #needsTransactionId({ facts }: Statement): boolean {
    return (
      this.#transactionId === null && this.status === 'T' && !facts.isMultiStatement && WRITES.has(facts.verb)
    )
  }

  /** Makes one promise only, since nearly every query runs here. */
  #runPrepared(prepared: StatementCache, statement: Statement): Promise<Result> {
    const asksTransactionId = this.#needsTransactionId(statement)
    const wasIdle = this.status === 'I'
    const begin = this.#begin === 'deferred' ? this.#beginSql : null
    const restartSql =
      this.#begin === 'fresh' ? this.#beginSql : begin === null ? null : this.#restartSqlOf(begin)
    const query = prepared.queryFor(statement, begin, asksTransactionId)
    this.#setBegin(begin === null ? 'none' : 'sent', begin ?? '')
    const running = new Promise<Result>((resolve) => {
      query.callback = (...[error, result]) => {
        if (error !== null) {
          if (this.#begin === 'sent') this.#closeIfExposed()
          resolve(this.#retryIfRefused(error, { prepared, query, statement, wasIdle, begin, restartSql }))
          return
        }
        this.#setBegin('none')
        if (asksTransactionId) this.#transactionId = result.transactionId
        this.#finishPrepared(prepared, statement)
        resolve(result.columns.hasUnknownTypes ? this.#parseUnknownTypes(result, query) : result)
      }
      this.raw.query(query)
    })
    this.#track(running)
    return running
  }

  async #parseUnknownTypes(result: PreparedResult, { prepared }: PreparedQuery): Promise<Result> {
    const { rows, columns } = result
    prepared.columns = await parseRemainingTexts(rows, columns, this, columns)
    return result
  }

  #finishPrepared(prepared: StatementCache, statement: Statement): void {
    this.running = null
    if (statement.facts.changesSession) prepared.observe(statement, this.inTransaction)
  }

  /** Runs a refused statement once more if it had not run, and if no other statement's effect is lost by that. */
  async #retryIfRefused(error: Error, failed: FailedRun): Promise<Result> {
    const { prepared, query, statement, wasIdle, begin, restartSql } = failed
    const refusal = prepared.refusalOf(error, query)
    await this.#waitForReady(error)
    if (refusal === null && begin !== null) this.#onFirstAnswer()
    this.#finishPrepared(prepared, statement)
    const reason = this.hangUpReasonOr(error)
    if (refusal === null) throw reason
    // A pooler, or the caller, has changed which statements the server has prepared.
    if (refusal === 'unknown') this.#statementCache = null
    // The refusal has aborted the transaction, which can be restarted only if nothing else has run in it.
    if (this.broken !== null) throw reason
    this.#setBegin('none')
    if (!wasIdle && (restartSql === null || this.isExposed)) throw reason
    if (restartSql !== null) {
      const isOpen = this.inTransaction
      // Before ROLLBACK is sent, so that what the caller sends behind it by `connection.raw` comes after BEGIN.
      this.#setBegin('deferred', restartSql)
      if (isOpen) await this.#waitFor(sendControl(this.raw, 'ROLLBACK'), ownStatement('ROLLBACK'))
    }
    return this.run(statement)
  }

  /** Waits for a query that was sent, and after an error until the connection is ready for the next one. */
  async #waitFor<T>(sent: Promise<T>, statement: Statement): Promise<T> {
    this.#track(sent)
    try {
      return await sent
    } catch (error) {
      await this.#waitForReady(error)
      throw this.hangUpReasonOr(error)
    } finally {
      this.running = null
      this.#statementCache?.observe(statement, this.inTransaction)
    }
  }

  /** Notes that the query that pg was given just now settles with `running`. */
  #track(running: Promise<unknown>): void {
    this.running = running
    if (this.isExposed) this.#lastSubmitted = lastSubmitted(this.raw)
  }

  /** Waits for ReadyForQuery, unless the query was never sent, or pg runs another one, which it does only after that. */
  async #waitForReady(error: unknown): Promise<void> {
    if (error instanceof QueryCanceledError) return
    if (this.isExposed && isRunningAnother(this.raw, this.#lastSubmitted)) return
    await waitForReady(this)
  }

  outcomeOf(transactionId: string): Promise<Outcome> {
    return outcomeOf(this, transactionId)
  }

  awaitSent<T>(sent: Promise<T>): Promise<T> {
    this.#forbidRestart()
    return this.#waitFor(sent, ownStatement(''))
  }

  openCursor(statement: Statement, isExclusive: boolean): Promise<Cursor> {
    return this.#cursors.open(statement, isExclusive)
  }

  #runOwn(sql: string): Promise<Result> {
    return this.run(ownStatement(sql))
  }

  /**
   * Repeats the cancel request until the statement has ended, because the server ignores a request that arrives before its
   * statement. Never hits a query of the caller on `connection.raw`: pg's queue is paused, and our statement is removed if
   * it still waits in it.
   */
  async cancel(): Promise<void> {
    this.#cancelCount += 1
    const resumeQueue = this.isExposed ? pauseQueue(this.raw) : null
    const notSent = new QueryCanceledError('The query was cancelled before it was sent.', '')
    try {
      for (let running = this.running; running !== null && this.broken === null; running = this.running) {
        if (!withdraw(this.raw, this.#lastSubmitted, notSent)) await requestCancel(this.raw)
        await waitAtMost(CANCEL_EVERY_MILLIS, running).catch(() => undefined)
      }
    } finally {
      resumeQueue?.()
    }
  }

  ping(): Promise<void> {
    return withAnswerTimeout(this, this.#runOwn('SELECT 1'))
  }

  async reset(): Promise<string | null> {
    const wasOpen = this.inTransaction
    if (wasOpen) await this.#runOwn('ROLLBACK')
    await this.#cursors.closeHeld()
    return wasOpen ? 'an open transaction, which was rolled back' : null
  }

  async discardSettings(): Promise<'fresh'> {
    await this.#runOwn('DISCARD ALL')
    // DISCARD ALL has deallocated the prepared statements, which pg does not notice.
    this.raw.connection.parsedStatements = {}
    this.#statementCache?.clear()
    await this.run({ ...ownStatement(APPLY_SETTINGS), bindings: this.#settings.bindings })
    return 'fresh'
  }

  /** Clears the statement cache, because a type parser that the caller sets has to work for earlier statements as well. */
  onRawExposed(): void {
    this.#statementCache?.clear()
    this.isExposed = true
    // What the caller sends through `connection.raw` belongs to the transaction as well.
    if (this.#begin === 'deferred') this.#sendBegin(this.#beginSql).catch(() => undefined)
    else this.#forbidRestart()
  }
}
