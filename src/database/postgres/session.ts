/** What runs on one connection to PostgreSQL, watched so that it is never lent out in an unknown state. */
import { QueryCanceledError } from '../errors'
import type { Cursor, Result, Statement, InsertTarget } from '../driver/statement'
import type { Outcome, Session } from '../driver/session'
import type { RawConnection } from './client'
import { PostgresConnection } from './connection'
import { PostgresCopies } from './copy'
import { requestCancel } from './cancel-request'
import { holdQueue, latestIn, runsAnother, type Submitted, withdraw } from './client-queue'
import { PostgresCursors } from './cursors'
import { plainly } from './own-statement'
import { refusalOf } from './errors'
import { outcomeOf } from './transaction-outcome'
import { type ArrayTypes, SessionTypes } from './array-types'
import { type Attempt, PreparedStatements } from './statement-cache'
import type { PreparedQuery } from './prepared-query'
import { answered, ask, control, controlled, hasTypes, isControl, refuseStream } from './simple-query'
import { patiently, readyAgain } from './ready-for-query'
import { parseTexts, type PreparedResult } from './row-decoder'
import { APPLY, type SessionSettings } from './session-settings'
import { waitAtMost } from '../context/watchdog'

const STRIKE_EVERY_MILLIS = 50

/** Statements that write, and so give their transaction an id. What a SELECT writes by a function goes unnoticed. */
const WRITES = new Set(['INSERT', 'UPDATE', 'DELETE', 'MERGE', 'CREATE', 'ALTER', 'DROP', 'TRUNCATE'])

export class PostgresSession extends PostgresConnection implements Session {
  #transactionId: string | null = null
  /**
   * Where the BEGIN of its transaction is: kept for the first statement, sent and not answered yet, or answered while nothing
   * else has run, so that the transaction can be begun anew.
   */
  #begin: 'none' | 'deferred' | 'sent' | 'fresh' = 'none'
  #beginSql = ''
  /** Settles when BEGIN is answered, where it was sent by itself. */
  #beginning: Promise<void> | null = null
  /** True once its holder has seen pg's client, and may send statements that bypass this class. */
  isExposed = false
  /** What pg was given for the statement that runs, where its user may have given it others. */
  #latest: Submitted | null = null
  /** How often it was told to stop what runs. */
  #cancels = 0
  readonly #cursors = new PostgresCursors(this)
  readonly #copies = new PostgresCopies(this)
  /** Null where nothing is prepared. */
  #prepared: PreparedStatements | null

  readonly #settings: SessionSettings

  readonly types: SessionTypes

  /** `arrays`: what is known of the types of this database; `mostPrepared`: how many prepared statements it keeps. */
  constructor(raw: RawConnection, settings: SessionSettings, arrays: ArrayTypes, mostPrepared: number) {
    super(raw)
    this.#settings = settings
    this.types = new SessionTypes(raw, arrays)
    const heard = (): void => {
      this.#setBegin('none')
    }
    this.#prepared = mostPrepared === 0 ? null : new PreparedStatements(raw, this.types, mostPrepared, heard)
  }

  /** As the server tells it: idle, in a transaction, or in one that has failed. */
  get status(): 'I' | 'T' | 'E' | null {
    if (this.#begin === 'deferred' || this.#begin === 'sent') return 'T'
    return this.raw.getTransactionStatus()
  }

  get inTransaction(): boolean {
    return this.status === 'T' || this.status === 'E'
  }

  get isClean(): boolean {
    return this.running === null && !this.inTransaction && !this.#cursors.areHeld
  }

  get transactionId(): string | null {
    return this.#transactionId
  }

  /** As pgjdbc does it: a journey less, and no server that waits for a first statement. `now()` is when that comes. */
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
    const refused = refusalOf(statement)
    if (refused !== null) return Promise.reject(refused)
    if (this.#beginning !== null) return this.#runBehind(this.#beginning, statement)
    if (!this.inTransaction) this.#transactionId = null
    const prepared = this.#prepared
    if (prepared?.takes(statement) === true) return this.#runPrepared(prepared, statement)
    if (this.#begin === 'deferred') return this.#runAfter(this.#beginSql, statement)
    this.#spoilFresh()
    if (isControl(statement)) return this.#runControl(statement)
    const { insertsInto } = statement
    return insertsInto === undefined ? this.#runUnprepared(statement) : this.#runMany(statement, insertsInto)
  }

  /** For a statement that BEGIN cannot go together with. Where nothing has begun, nothing has to be ended. */
  async #runAfter(begin: string, statement: Statement): Promise<Result> {
    if (statement.sql === 'COMMIT' || statement.sql === 'ROLLBACK') {
      this.#setBegin('none')
      return controlled(statement.sql)
    }
    return this.#runBehind(this.#sendBegin(begin), statement)
  }

  /** Unless it is cancelled by then: what has not been sent the server cannot stop. */
  async #runBehind(beginning: Promise<void>, statement: Statement): Promise<Result> {
    const cancels = this.#cancels
    await beginning
    if (this.#cancels > cancels)
      throw new QueryCanceledError('The query was cancelled before it was sent.', statement.sql)
    return this.run(statement)
  }

  /** Sends it by itself. What is run meanwhile waits for it. */
  #sendBegin(begin: string): Promise<void> {
    this.#setBegin('sent', begin)
    const begun = this.#asBegun(begin)
    const send = async (): Promise<void> => {
      try {
        await this.#sent(
          control(this.raw, begin, () => this.#closeIfExposed()),
          plainly(begin),
        )
        this.#onFirstAnswer()
        this.#setFresh(begun)
      } catch (error) {
        this.#onFirstAnswer()
        throw error
      } finally {
        this.#beginning = null
      }
    }
    this.#beginning = send()
    return this.#beginning
  }

  /** How a transaction can be begun anew; null for a BEGIN inside of one that was opened by hand, which begins nothing. */
  #asBegun(begin: string): string | null {
    return this.raw.getTransactionStatus() === 'I' ? begin : null
  }

  /** Remembers how the transaction was begun, unless its holder may have sent something in it already. */
  #setFresh(begun: string | null): void {
    if (begun !== null && !this.isExposed && this.broken === null) this.#setBegin('fresh', begun)
  }

  /** Something else runs in the transaction, which cannot be begun anew without it. */
  #spoilFresh(): void {
    if (this.#begin === 'fresh') this.#setBegin('none')
  }

  /** BEGIN was refused: what the user has had pg send behind it would be committed at once. */
  #closeIfExposed(): void {
    if (this.isExposed) this.destroy()
  }

  /** The first statement of a transaction was answered, or lost. */
  #onFirstAnswer(): void {
    if (this.broken !== null) return
    this.#setBegin('none')
    // Where nothing has begun, whatever follows would be committed at once.
    if (this.raw.getTransactionStatus() === 'I') this.destroy()
  }

  async #runMany(statement: Statement, into: InsertTarget): Promise<Result> {
    const copied = await this.#copies.run(statement, into, this.#isToIdentify(statement))
    if (copied === null) return this.#runUnprepared(statement)
    this.#transactionId ??= copied.transactionId
    return copied.result
  }

  async #runControl(statement: Statement): Promise<Result> {
    const begun = statement.facts.verb === 'BEGIN' ? this.#asBegun(statement.sql) : null
    const result = await this.#sent(control(this.raw, statement.sql), statement)
    this.#setFresh(begun)
    return result
  }

  async #runUnprepared(statement: Statement): Promise<Result> {
    refuseStream(statement)
    const identifies = this.#isToIdentify(statement)
    const native = await this.#sent(ask(this.raw, statement, identifies), statement)
    if (!hasTypes(statement)) for (const each of [native].flat()) await parseTexts(each.rows, each, this)
    const answer = answered(native, identifies)
    if (identifies) this.#transactionId = answer.transactionId
    return answer.result
  }

  /** Whether it is to ask for the id of its transaction, which the first statement that writes makes the server give. */
  #isToIdentify({ facts }: Statement): boolean {
    return (
      this.#transactionId === null && this.status === 'T' && !facts.isMultiStatement && WRITES.has(facts.verb)
    )
  }

  /** Written without more promises than one, since every query of a program goes through it. */
  #runPrepared(prepared: PreparedStatements, statement: Statement): Promise<Result> {
    const identifies = this.#isToIdentify(statement)
    const wasIdle = this.status === 'I'
    const begin = this.#begin === 'deferred' ? this.#beginSql : null
    const begun = this.#begin === 'fresh' ? this.#beginSql : begin === null ? null : this.#asBegun(begin)
    const query = prepared.queryFor(statement, begin, identifies)
    this.#setBegin(begin === null ? 'none' : 'sent', begin ?? '')
    const running = new Promise<Result>((resolve) => {
      query.callback = (...[error, result]) => {
        if (error !== null) {
          if (this.#begin === 'sent') this.#closeIfExposed()
          resolve(this.#again(error, { prepared, query, statement, isWhole: wasIdle, begin, begun }))
          return
        }
        this.#setBegin('none')
        if (identifies) this.#transactionId = result.transactionId
        this.#ended(prepared, statement)
        resolve(result.columns.isIncomplete ? this.#completed(result, query) : result)
      }
      this.raw.query(query)
    })
    this.#runs(running)
    return running
  }

  async #completed(result: PreparedResult, { prepared }: PreparedQuery): Promise<Result> {
    const { rows, columns } = result
    prepared.columns = await parseTexts(rows, columns, this, columns)
    return result
  }

  #ended(prepared: PreparedStatements, statement: Statement): void {
    this.running = null
    if (statement.facts.changesSession) prepared.follow(statement, this.inTransaction)
  }

  /** Runs it once more if it was refused before it ran, and nothing but itself is lost by that. */
  async #again(error: Error, attempt: Attempt): Promise<Result> {
    const { prepared, query, statement, isWhole, begin, begun } = attempt
    const refusal = prepared.refusalOf(error, query)
    await this.#readyAgain(error)
    if (refusal === null && begin !== null) this.#onFirstAnswer()
    this.#ended(prepared, statement)
    const reason = this.reasonFor(error)
    if (refusal === null) throw reason
    // Somebody between us and the server, or the user, has other ideas about what is prepared.
    if (refusal === 'unknown') this.#prepared = null
    // The server has refused it before it ran, but a transaction is spoilt by that, unless it has only just begun.
    if (this.broken !== null) throw reason
    this.#setBegin('none')
    if (!isWhole && begun === null) throw reason
    if (begun !== null) {
      if (this.inTransaction) await this.#sent(control(this.raw, 'ROLLBACK'), plainly('ROLLBACK'))
      this.#setBegin('deferred', begun)
    }
    return this.run(statement)
  }

  /** Waits for a statement that was sent, and after an error until the connection is ready for the next one. */
  async #sent<T>(sent: Promise<T>, statement: Statement): Promise<T> {
    this.#runs(sent)
    try {
      return await sent
    } catch (error) {
      await this.#readyAgain(error)
      throw this.reasonFor(error)
    } finally {
      this.running = null
      this.#prepared?.follow(statement, this.inTransaction)
    }
  }

  /** What pg was given just now settles with `running`. */
  #runs(running: Promise<unknown>): void {
    this.running = running
    if (this.isExposed) this.#latest = latestIn(this.raw)
  }

  /** Of what was never sent the server says nothing; and when another one runs already, it has been ready. */
  async #readyAgain(error: unknown): Promise<void> {
    if (error instanceof QueryCanceledError) return
    if (this.isExposed && runsAnother(this.raw, this.#latest)) return
    await readyAgain(this)
  }

  outcomeOf(transactionId: string): Promise<Outcome> {
    return outcomeOf(this, transactionId)
  }

  answered<T>(sent: Promise<T>): Promise<T> {
    this.#spoilFresh()
    return this.#sent(sent, plainly(''))
  }

  openCursor(statement: Statement, isExclusive: boolean): Promise<Cursor> {
    return this.#cursors.open(statement, isExclusive)
  }

  #plain(sql: string): Promise<Result> {
    return this.run(plainly(sql))
  }

  /**
   * A request that overtakes its statement is forgotten by the server, so it is repeated until the statement has ended.
   * What the user sends by pg's client is spared: ours may wait behind it, and it may follow while a request is on its way.
   */
  async cancel(): Promise<void> {
    this.#cancels += 1
    const goOn = this.isExposed ? holdQueue(this.raw) : null
    const unsent = new QueryCanceledError('The query was cancelled before it was sent.', '')
    try {
      for (let running = this.running; running !== null && this.broken === null; running = this.running) {
        if (!withdraw(this.raw, this.#latest, unsent)) await requestCancel(this.raw)
        await waitAtMost(STRIKE_EVERY_MILLIS, running).catch(() => undefined)
      }
    } finally {
      goOn?.()
    }
  }

  ping(): Promise<void> {
    return patiently(this, this.#plain('SELECT 1'))
  }

  async reset(): Promise<string | null> {
    const wasOpen = this.inTransaction
    if (wasOpen) await this.#plain('ROLLBACK')
    await this.#cursors.closeHeld()
    return wasOpen ? 'an open transaction, which was rolled back' : null
  }

  async discardSettings(): Promise<'fresh'> {
    await this.#plain('DISCARD ALL')
    // Prepared statements are gone as well, which neither pg nor we notice.
    this.raw.connection.parsedStatements = {}
    this.#prepared?.forget()
    await this.run({ ...plainly(APPLY), bindings: this.#settings.bindings })
    return 'fresh'
  }

  /** A type parser that is set for the connection is for the statements that were prepared before as well. */
  onRawExposed(): void {
    this.#prepared?.forget()
    this.isExposed = true
    // What its holder sends by pg's client belongs into the transaction as well.
    if (this.#begin === 'deferred') this.#sendBegin(this.#beginSql).catch(() => undefined)
    else this.#spoilFresh()
  }
}
