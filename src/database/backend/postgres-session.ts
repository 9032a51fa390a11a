/** One connection to PostgreSQL: pg's Client, watched so that it is never lent out in an unknown state. */
import type { Socket } from 'node:net'
import type pg from 'pg'
import { ConnectionError, QueryError } from '../errors'
import type { Cursor, Outcome, Result, Session, Statement, Target } from './dialect'
import { PostgresCopies } from './postgres-copy'
import { requestCancel } from './postgres-cancel'
import { plainly, PostgresCursors } from './postgres-cursors'
import { tooManyValues } from './postgres-errors'
import { PreparedStatements } from './postgres-prepared'
import { ask, control, isControl, textOf } from './postgres-queries'
import { within } from './within'

/** pg's Client with the parts that its types leave out. */
export interface RawConnection extends Omit<pg.Client, 'ssl' | 'connection'> {
  /** Set by Knex when the connection reports an error or its end. */
  __knex__disposed?: Error | string
  readyForQuery: boolean
  readonly processID: number
  readonly secretKey: number | Buffer
  readonly ssl: boolean | object
  readonly connection: { readonly stream: Socket; parsedStatements: Record<string, string> }
  getTransactionStatus(): 'I' | 'T' | 'E' | null
  ref(): void
  unref(): void
}

/** How long a ping, a cancel request or the end of a failed statement may take. */
const PATIENCE_MILLIS = 2000
const STRIKE_EVERY_MILLIS = 50

/** Commands whose tag counts rows that they changed; that of SELECT counts rows that it read. */
const CHANGES = new Set(['INSERT', 'UPDATE', 'DELETE', 'MERGE', 'COPY'])

/** Statements that write, and so give their transaction an id. What a SELECT writes by a function goes unnoticed. */
const WRITES = new Set(['INSERT', 'UPDATE', 'DELETE', 'MERGE', 'CREATE', 'ALTER', 'DROP', 'TRUNCATE'])

/** The protocol counts them in 16 bits: https://www.postgresql.org/docs/current/protocol-message-formats.html#PROTOCOL-MESSAGE-FORMATS-BIND */
const MOST_BINDINGS = 65_535

const COPIES_STREAM = /\b(?:from\s+stdin|to\s+stdout)\b/i

export class PostgresSession implements Session {
  readonly raw: RawConnection
  #destroyed: Error | null = null
  #transactionId: string | null = null
  /** How its transaction was begun, while nothing else has run in it. */
  #begun: string | null = null
  /** Settles with the statement that runs now. */
  #running: Promise<unknown> | null = null
  readonly #cursors = new PostgresCursors(this)
  readonly #copies = new PostgresCopies(this)
  /** Null where nothing is prepared. */
  #prepared: PreparedStatements | null

  /** `mostPrepared`: how many prepared statements it keeps. */
  constructor(raw: RawConnection, mostPrepared: number) {
    this.raw = raw
    this.#prepared = mostPrepared === 0 ? null : new PreparedStatements(raw, mostPrepared)
  }

  get broken(): Error | null {
    if (this.#destroyed !== null) return this.#destroyed
    const reason = this.raw.__knex__disposed
    if (reason === undefined) return null
    return reason instanceof Error ? reason : new ConnectionError(reason)
  }

  /** As the server tells it: idle, in a transaction, or in one that has failed. */
  get status(): 'I' | 'T' | 'E' | null {
    return this.raw.getTransactionStatus()
  }

  get inTransaction(): boolean {
    return this.status === 'T' || this.status === 'E'
  }

  get isClean(): boolean {
    return this.#running === null && !this.inTransaction && !this.#cursors.areHeld
  }

  get transactionId(): string | null {
    return this.#transactionId
  }

  run(statement: Statement): Promise<Result> {
    const { bindings, sql } = statement
    if (bindings.length > MOST_BINDINGS)
      return Promise.reject(tooManyValues(bindings.length, MOST_BINDINGS, sql))
    if (!this.inTransaction) this.#transactionId = null
    const begun = this.#begun
    this.#begun = null
    const prepared = this.#prepared
    if (prepared?.takes(statement) === true) return this.#runPrepared(prepared, statement, begun)
    if (isControl(statement)) return this.#runControl(statement)
    const { into } = statement
    return into === undefined ? this.#runUnprepared(statement) : this.#runMany(statement, into)
  }

  async #runMany(statement: Statement, into: Target): Promise<Result> {
    const copied = await this.#copies.run(statement, into, this.#isToIdentify(statement))
    if (copied === null) return this.#runUnprepared(statement)
    this.#transactionId ??= copied.transactionId
    return copied.result
  }

  async #runControl(statement: Statement): Promise<Result> {
    const { sql, facts } = statement
    const command = await this.#sent(control(this.raw, sql), statement)
    if (facts.verb === 'BEGIN') this.#begun = sql
    const response = { command, rowCount: null, rows: [], fields: [] }
    return { rows: [], rowCount: 0, lastInsertId: null, command, forKnex: { response } }
  }

  async #runUnprepared(statement: Statement): Promise<Result> {
    // pg would wait for rows that nobody sends, or throw those away that come.
    if (statement.facts.verb === 'COPY' && COPIES_STREAM.test(statement.sql)) {
      throw new QueryError(
        'COPY from STDIN or to STDOUT needs a stream. Use executeMany() or iterate(), or a stream of pg-copy-streams on connection.raw.',
        statement.sql,
      )
    }
    const identifies = this.#isToIdentify(statement)
    const native = await this.#sent(ask(this.raw, statement, identifies), statement)
    // Several statements in one text give several results; the last one counts, as in psql.
    const results = Array.isArray(native) ? native : [native]
    if (identifies) this.#transactionId = textOf(results.pop())
    const last = results.at(-1)
    const command = last?.command ?? ''
    return {
      rows: last?.rows ?? [],
      rowCount: CHANGES.has(command) ? (last?.rowCount ?? 0) : 0,
      lastInsertId: null,
      command,
      forKnex: { response: identifies ? last : native },
    }
  }

  /** Whether it is to ask for the id of its transaction, which the first statement that writes makes the server give. */
  #isToIdentify({ facts }: Statement): boolean {
    return this.#transactionId === null && this.status === 'T' && !facts.isSeveral && WRITES.has(facts.verb)
  }

  async #runPrepared(
    prepared: PreparedStatements,
    statement: Statement,
    begun: string | null,
  ): Promise<Result> {
    const identifies = this.#isToIdentify(statement)
    const wasIdle = this.status === 'I'
    const sent = prepared.run(statement, identifies)
    this.#running = sent
    try {
      const result = await sent
      if (identifies) this.#transactionId = result.transactionId
      return result
    } catch (error) {
      await this.#readyAgain()
      const { refusal } = prepared
      if (refusal === null) throw error
      // Somebody between us and the server, or the user, has other ideas about what is prepared.
      if (refusal === 'unknown') this.#prepared = null
      // The server has refused it before it ran, but a transaction is spoilt by that, unless it has only just begun.
      if (this.broken !== null || (!wasIdle && begun === null)) throw error
    } finally {
      this.#running = null
      if (statement.facts.changesSession) prepared.follow(statement, this.inTransaction)
    }
    if (begun !== null)
      for (const sql of ['ROLLBACK', begun]) await this.#sent(control(this.raw, sql), plainly(sql))
    return this.run(statement)
  }

  /** Waits for a statement that was sent, and after an error until the connection is ready for the next one. */
  async #sent<T>(sent: Promise<T>, statement: Statement): Promise<T> {
    this.#running = sent
    try {
      return await sent
    } catch (error) {
      await this.#readyAgain()
      throw error
    } finally {
      this.#running = null
      this.#prepared?.follow(statement, this.inTransaction)
    }
  }

  /** Asks what became of another session's transaction. https://www.postgresql.org/docs/current/functions-info.html */
  async outcomeOf(transactionId: string): Promise<Outcome> {
    const sql = 'SELECT txid_status($1::bigint) AS status'
    const { rows } = await this.run({ ...plainly(sql), bindings: [transactionId] })
    switch ((rows[0] as { status: string | null } | undefined)?.status) {
      case 'committed':
        return 'committed'
      case 'aborted':
        return 'rolled back'
      case 'in progress':
        return 'open'
      default:
        // Too long ago for the server to remember.
        return 'unknown'
    }
  }

  /** pg reports an error before the server is ready for the next statement: only then is the transaction's state known. */
  async #readyAgain(): Promise<void> {
    if (this.raw.readyForQuery || this.broken !== null) return
    await new Promise<void>((resolve) => {
      const end = (): void => {
        clearTimeout(timer)
        this.raw.off('drain', end)
        this.raw.off('end', end)
        resolve()
      }
      const timer = setTimeout(() => {
        this.destroy()
        end()
      }, PATIENCE_MILLIS)
      this.raw.on('drain', end)
      this.raw.on('end', end)
    })
  }

  answered<T>(sent: Promise<T>): Promise<T> {
    this.#begun = null
    return this.#sent(sent, plainly(''))
  }

  openCursor(statement: Statement, alone: boolean): Promise<Cursor> {
    return this.#cursors.open(statement, alone)
  }

  #plain(sql: string): Promise<Result> {
    return this.run(plainly(sql))
  }

  /** A request that overtakes its statement is forgotten by the server, so it is repeated until the statement has ended. */
  async cancel(): Promise<void> {
    for (let running = this.#running; running !== null && this.broken === null; running = this.#running) {
      await requestCancel(this.raw)
      await within(STRIKE_EVERY_MILLIS, running).catch(() => undefined)
    }
  }

  async ping(): Promise<void> {
    const timer = setTimeout(() => {
      this.destroy()
    }, PATIENCE_MILLIS)
    try {
      await this.#plain('SELECT 1')
    } finally {
      clearTimeout(timer)
    }
  }

  async reset(): Promise<string | null> {
    const wasOpen = this.inTransaction
    if (wasOpen) await this.#plain('ROLLBACK')
    await this.#cursors.closeHeld()
    return wasOpen ? 'an open transaction, which was rolled back' : null
  }

  async renew(): Promise<'new'> {
    await this.#plain('DISCARD ALL')
    // Prepared statements are gone as well, which neither pg nor we notice.
    this.raw.connection.parsedStatements = {}
    this.#prepared?.forget()
    return 'new'
  }

  /** A type parser that is set for the connection is for the statements that were prepared before as well. */
  exposed(): void {
    this.#prepared?.forget()
  }

  whenLost(callback: () => void): void {
    this.raw.once('end', () => {
      if (this.#destroyed === null) callback()
    })
  }

  hold(alive: boolean): void {
    if (alive) this.raw.ref()
    else this.raw.unref()
  }

  destroy(): void {
    // The server would go on with a long statement until it has something to say. Nothing comes after it to be hit.
    if (this.#running !== null && this.broken === null) requestCancel(this.raw).catch(() => undefined)
    this.#destroyed ??= new ConnectionError('The connection was closed.')
    this.raw.connection.stream.destroy()
  }

  async close(): Promise<void> {
    this.#destroyed ??= new ConnectionError('The connection was closed.')
    const timer = setTimeout(() => this.raw.connection.stream.destroy(), PATIENCE_MILLIS)
    await this.raw.end().catch(() => undefined)
    clearTimeout(timer)
  }
}
