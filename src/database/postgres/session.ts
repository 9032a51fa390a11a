/** A session on PostgreSQL: runs statements on one connection and tracks its state, so that it is never lent in an unknown one. */
import { ConnectionError, QueryCanceledError } from '../errors'
import { waitAtMost } from '../context/timers'
import type { Cursor, Result, Statement, InsertTarget } from '../driver/statement'
import type { Outcome, Session } from '../driver/session'
import { type ArrayTypes, SessionTypeParsers } from './array-types'
import { CANCEL_EVERY_MILLIS, requestCancel } from './cancel-request'
import { PostgresCopies } from './copy'
import { PostgresCursors } from './cursors'
import { type Begin, DeferredBegin } from './deferred-begin'
import { isHangUp, readOnlyServerError } from './errors'
import {
  Executable,
  executionOf,
  ExtendedQuery,
  type ExtendedQueryParts,
  type ExtendedResult,
  forwardCompletions,
} from './extended-query'
import {
  activeQuery,
  ANSWER_TIMEOUT_MILLIS,
  lastSubmitted,
  pauseQueue,
  type QueryObject,
  type RawConnection,
  waitForReady,
  withAnswerTimeout,
  withdraw,
} from './pg-client'
import { limitError } from './parameters'
import { parseRemainingTexts } from './rows'
import { APPLY_SETTINGS, type SessionSettings } from './session-settings'
import {
  controlResult,
  hasOwnParsers,
  isControl,
  lastResult,
  needsPgQuery,
  ownStatement,
  sendControl,
  sendPgQuery,
} from './simple-query'
import { StatementCache } from './statement-cache'
import { givesTransactionId, OUTCOMES, ReadOnlyChoice, TRANSACTION_ID } from './transaction-state'

/** A run of a prepared statement. */
interface PreparedRun {
  readonly cache: StatementCache
  readonly query: ExtendedQuery
  readonly statement: Statement
  readonly begin: Begin
  /** True if it ran outside of a transaction. */
  readonly wasIdle: boolean
}

export class PostgresSession implements Session {
  readonly raw: RawConnection
  readonly types: SessionTypeParsers
  /** True once the caller has read `connection.raw`, and may send statements that bypass this class. */
  isExposed = false
  /** Settles when the statement that runs now ends; null while nothing runs. */
  #running: Promise<unknown> | null = null
  /** The query that pg was given for the statement that runs; set only while `isExposed`. */
  #lastSubmitted: QueryObject | null = null
  #destroyed: Error | null = null
  /** How often {@link cancel} was called. */
  #cancelCount = 0
  transactionId: string | null = null
  readonly #readOnly = new ReadOnlyChoice()
  /** Whether it is to be given up when a read-only server has refused a write. */
  givesUpReadOnly = (): boolean => true
  /** Restarts the transaction whose first statement was refused by a server that has become read-only. */
  #refusedBegin: string | null = null
  hasRefusedWrite = false
  readonly #begin = new DeferredBegin(this)
  /** The names of open cursors WITH HOLD, which no end of a transaction closes. */
  readonly heldCursors = new Set<string>()
  readonly #cursors = new PostgresCursors(this)
  readonly #copies = new PostgresCopies(this)
  /** Null if this session prepares no statements. */
  #statementCache: StatementCache | null
  readonly #settings: SessionSettings

  /** `arrays`: the array types of this database; `mostPrepared`: how many prepared statements are kept, 0 for none. */
  constructor(raw: RawConnection, settings: SessionSettings, arrays: ArrayTypes, mostPrepared: number) {
    this.raw = raw
    this.#settings = settings
    this.types = new SessionTypeParsers(raw, arrays)
    this.#statementCache = mostPrepared === 0 ? null : new StatementCache(mostPrepared)
    forwardCompletions(raw, () => {
      this.#begin.onStatementStarted()
    })
  }

  get broken(): Error | null {
    if (this.#destroyed !== null) return this.#destroyed
    const reason = this.raw.__knex__disposed
    if (reason === undefined) return null
    return reason instanceof Error ? reason : new ConnectionError(reason)
  }

  /** The transaction status as the server reports it: idle, in a transaction, in a failed transaction. */
  get status(): 'I' | 'T' | 'E' | null {
    return this.#begin.isPending ? 'T' : this.raw.getTransactionStatus()
  }

  get inTransaction(): boolean {
    return this.status === 'T' || this.status === 'E'
  }

  get isClean(): boolean {
    return this.#running === null && !this.inTransaction && this.heldCursors.size === 0
  }

  begin(sql: string): void {
    this.transactionId = null
    this.#readOnly.begin(sql)
    this.#begin.defer(sql)
  }

  get isBeginDeferred(): boolean {
    return this.#begin.isDeferred
  }

  get unansweredBegin(): string | null {
    return this.#begin.unansweredSql ?? this.#refusedBegin
  }

  run(statement: Statement): Promise<Result> {
    const refused = limitError(statement)
    if (refused !== null) return Promise.reject(refused)
    if (statement.facts.changesSession) this.#readOnly.observe(statement)
    const { answer } = this.#begin
    if (answer !== null) return this.#runAfter(answer, statement)
    if (!this.inTransaction) this.transactionId = null
    const cache = this.#statementCache
    if (cache?.accepts(statement) === true) return this.#runPrepared(cache, statement)
    if (this.#begin.isDeferred) {
      const endsIt = statement.sql === 'COMMIT' || statement.sql === 'ROLLBACK'
      if (!endsIt) return this.#runAfter(this.#begin.send(), statement)
      // Nothing has begun, so that nothing need be sent.
      this.#begin.forget()
      return Promise.resolve(controlResult(statement.sql))
    }
    this.#begin.forbidRestart()
    this.#readOnly.observe(statement)
    if (isControl(statement)) return this.#runControl(statement)
    const { insertsInto } = statement
    return insertsInto === undefined ? this.#runUnprepared(statement) : this.#runCopy(statement, insertsInto)
  }

  /** Runs the statement when BEGIN is answered, unless it is cancelled meanwhile: the server cannot stop an unsent one. */
  async #runAfter(beginAnswer: Promise<void>, statement: Statement): Promise<Result> {
    const cancelCount = this.#cancelCount
    await beginAnswer
    if (this.#cancelCount > cancelCount)
      throw new QueryCanceledError('The query was cancelled before it was sent.', statement.sql)
    return this.run(statement)
  }

  async #runCopy(statement: Statement, into: InsertTarget): Promise<Result> {
    const copied = await this.#copies.run(statement, into, this.#needsTransactionId(statement))
    if (copied === null) return this.#runUnprepared(statement)
    this.transactionId ??= copied.transactionId
    return copied.result
  }

  async #runControl(statement: Statement): Promise<Result> {
    const restartSql = statement.facts.verb === 'BEGIN' ? this.#begin.restartSqlOf(statement.sql) : null
    const result = await this.waitFor(sendControl(this.raw, statement.sql), statement)
    this.#begin.allowRestart(restartSql)
    return result
  }

  async #runUnprepared(statement: Statement): Promise<Result> {
    const asksTransactionId = this.#needsTransactionId(statement)
    if (!needsPgQuery(statement)) {
      const main = new Executable('', statement.sql)
      const after = asksTransactionId ? new Executable('', TRANSACTION_ID) : null
      const result = await this.send({ ...executionOf(statement), main, after }, statement)
      if (asksTransactionId) this.transactionId = result.transactionId
      return result
    }
    const results = await this.waitFor(sendPgQuery(this.raw, statement), statement)
    if (!hasOwnParsers(statement))
      for (const each of results) await parseRemainingTexts(each.rows, each, this)
    if (asksTransactionId) this.transactionId = (await this.#fetchOwn(TRANSACTION_ID)) as string | null
    return lastResult(results)
  }

  /** Returns whether to ask for the transaction's id, which the server assigns at the first statement that writes. */
  #needsTransactionId({ facts }: Statement): boolean {
    return this.transactionId === null && this.status === 'T' && givesTransactionId(facts)
  }

  /** Makes one promise only, since nearly every query runs here. */
  #runPrepared(cache: StatementCache, statement: Statement): Promise<Result> {
    const asksTransactionId = this.#needsTransactionId(statement)
    const wasIdle = this.status === 'I'
    // First, since it throws for a value that cannot be written.
    const execution = executionOf(statement)
    const begin = this.#begin.take()
    const parts = cache.partsFor(statement.sql, execution, begin.sql, asksTransactionId)
    const running = new Promise<Result>((resolve) => {
      const query = new ExtendedQuery(this.types, parts, (...[error, result]) => {
        if (error !== null) {
          this.#begin.closeIfExposed()
          resolve(this.#retryIfRefused(error, { cache, query, statement, begin, wasIdle }))
          return
        }
        if (asksTransactionId) this.transactionId = result.transactionId
        this.#finishPrepared(cache, statement)
        resolve(result.columns.hasUnknownTypes ? this.#parseUnknownTypes(result, parts.main) : result)
      })
      this.raw.query(query)
    })
    this.#track(running)
    return running
  }

  #finishPrepared(cache: StatementCache, statement: Statement): void {
    this.#running = null
    if (statement.facts.changesSession) cache.observe(statement, this.inTransaction)
  }

  /** Runs a refused statement once more if it had not run, and if no other statement's effect is lost by that. */
  async #retryIfRefused(error: Error, { cache, query, statement, begin, wasIdle }: PreparedRun) {
    const refusal = cache.refusalOf(error, query)
    await this.#waitForReady(error)
    if (refusal === null && begin.sql !== null) this.#begin.onAnswer()
    this.#finishPrepared(cache, statement)
    const reason = this.#reasonOf(error, statement, begin.restartSql)
    if (refusal === null) throw reason
    // A pooler, or the caller, has changed which statements the server has prepared.
    if (refusal === 'unknown') this.#statementCache = null
    if (this.broken !== null) throw reason
    this.#begin.forget()
    // The refusal has aborted the transaction, which can be restarted only if nothing else has run in it.
    if (!wasIdle && (begin.restartSql === null || this.isExposed)) throw reason
    if (begin.restartSql !== null) await this.#begin.restart(begin.restartSql)
    return this.run(statement)
  }

  /** Sends a query that is not prepared, or reads a cursor. */
  async send(parts: ExtendedQueryParts, statement: Statement): Promise<ExtendedResult> {
    const sent = new Promise<ExtendedResult>((resolve, reject) => {
      const query = new ExtendedQuery(this.types, parts, (...[error, result]) => {
        if (error === null) resolve(result)
        else reject(error)
      })
      this.raw.query(query)
    })
    const result = await this.waitFor(sent, statement)
    return result.columns.hasUnknownTypes ? this.#parseUnknownTypes(result, parts.main) : result
  }

  async #parseUnknownTypes(result: ExtendedResult, main: Executable): Promise<ExtendedResult> {
    const { rows, columns } = result
    main.columns = await parseRemainingTexts(rows, columns, this, columns)
    return result
  }

  /** Waits for a query that was sent, and after an error until the connection is ready for the next one. */
  async waitFor<T>(sent: Promise<T>, statement: Statement): Promise<T> {
    this.#track(sent)
    try {
      return await sent
    } catch (error) {
      await this.#waitForReady(error)
      throw this.#reasonOf(error, statement)
    } finally {
      this.#running = null
      this.#statementCache?.observe(statement, this.inTransaction)
    }
  }

  /** Notes that the query that pg was given just now settles with `running`. */
  #track(running: Promise<unknown>): void {
    this.#running = running
    if (this.isExposed) this.#lastSubmitted = lastSubmitted(this.raw)
  }

  /** Waits for ReadyForQuery, unless the query was never sent, or pg runs another one, which it does only after that. */
  async #waitForReady(error: unknown): Promise<void> {
    if (error instanceof QueryCanceledError) return
    const active = this.isExposed ? activeQuery(this.raw) : null
    if (active === null || active === this.#lastSubmitted) await waitForReady(this)
  }

  /** Returns the server's reason for closing the connection; else `error`. Breaks the session if the server has become read-only. */
  #reasonOf(error: unknown, { facts }: Statement, restartSql = this.#begin.firstSql): unknown {
    const readOnly = this.#readOnly.isMade(this.inTransaction) ? null : readOnlyServerError(error)
    if (readOnly !== null) {
      if (!this.givesUpReadOnly()) return readOnly
      // Several statements, a procedure or a block may have committed something before.
      this.hasRefusedWrite = !facts.isMultiStatement && !facts.changesSession
      if (!this.isExposed) this.#refusedBegin = restartSql
      this.#destroyed ??= readOnly
      return readOnly
    }
    const { __knex__disposed: reason } = this.raw
    return isHangUp(reason) && !isHangUp(error) ? reason : error
  }

  async outcomeOf(transactionId: string): Promise<Outcome> {
    const status = await this.#fetchOwn('SELECT txid_status($1::bigint)', [transactionId])
    // The server keeps no status of a transaction that is too old.
    return OUTCOMES[String(status)] ?? 'unknown'
  }

  openCursor(statement: Statement, isExclusive: boolean): Promise<Cursor> {
    return this.#cursors.open(statement, isExclusive)
  }

  #runOwn(sql: string, bindings: readonly unknown[] = []): Promise<Result> {
    return this.run(ownStatement(sql, bindings))
  }

  /** Returns the first value of a statement of its own. */
  async #fetchOwn(sql: string, bindings: readonly unknown[] = []): Promise<unknown> {
    const { rows } = await this.#runOwn(sql, bindings)
    return Object.values(rows[0] as object)[0]
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
      for (let running = this.#running; running !== null && this.broken === null; running = this.#running) {
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
    this.#readOnly.clear()
    await this.#runOwn(APPLY_SETTINGS, this.#settings.bindings)
    return 'fresh'
  }

  /** Clears the statement cache, because a type parser that the caller sets has to work for earlier statements as well. */
  onRawExposed(): void {
    this.#statementCache?.clear()
    this.isExposed = true
    // What the caller sends through `connection.raw` belongs to the transaction as well.
    if (this.#begin.isDeferred) this.#begin.send().catch(() => undefined)
    else this.#begin.forbidRestart()
  }

  onLost(callback: () => void): void {
    this.raw.once('end', () => {
      if (this.#destroyed === null) callback()
    })
  }

  keepProcessAlive(alive: boolean): void {
    this.raw[alive ? 'ref' : 'unref']()
  }

  destroy(): void {
    // Without a cancel request the server would run a long statement to its end. No later statement can be hit here.
    if (this.#running !== null && this.broken === null) requestCancel(this.raw).catch(() => undefined)
    this.#destroyed ??= new ConnectionError('The connection was closed.')
    this.raw.connection.stream.destroy()
  }

  async close(): Promise<void> {
    this.#destroyed ??= new ConnectionError('The connection was closed.')
    const timer = setTimeout(() => this.raw.connection.stream.destroy(), ANSWER_TIMEOUT_MILLIS)
    await this.raw.end().catch(() => undefined)
    clearTimeout(timer)
  }
}
