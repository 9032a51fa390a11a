/** One connection to PostgreSQL: pg's Client, watched so that it is never lent out in an unknown state. */
import type { Socket } from 'node:net'
import type pg from 'pg'
import { ConnectionError, QueryError } from '../errors'
import type { Cursor, Facts, Outcome, Result, Row, Session, Statement } from './dialect'
import { requestCancel } from './postgres-cancel'
import { FirstRowQuery, IdentifiedQuery } from './postgres-queries'
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

const COPIES_STREAM = /\b(?:from\s+stdin|to\s+stdout)\b/i

const DECLARABLE = new Set(['SELECT', 'VALUES', 'TABLE'])

const PLAIN: Facts = {
  verb: '',
  laterVerbs: [],
  isSeveral: false,
  isRead: false,
  hasReturning: false,
  isRepeatable: false,
  changesSession: false,
}

let cursors = 0

export class PostgresSession implements Session {
  readonly raw: RawConnection
  #destroyed: Error | null = null
  #transactionId: string | null = null
  /** Settles with the statement that runs now, and never rejects. */
  #running: Promise<unknown> | null = null
  readonly #heldCursors = new Set<string>()

  constructor(raw: RawConnection) {
    this.raw = raw
  }

  get broken(): Error | null {
    if (this.#destroyed !== null) return this.#destroyed
    const reason = this.raw.__knex__disposed
    if (reason === undefined) return null
    return reason instanceof Error ? reason : new ConnectionError(reason)
  }

  get inTransaction(): boolean {
    const status = this.raw.getTransactionStatus()
    return status === 'T' || status === 'E'
  }

  get transactionId(): string | null {
    return this.#transactionId
  }

  async run(statement: Statement): Promise<Result> {
    // pg would wait for rows that nobody sends, or throw those away that come.
    if (statement.facts.verb === 'COPY' && COPIES_STREAM.test(statement.sql)) {
      throw new QueryError(
        'COPY from STDIN or to STDOUT needs a stream. Use executeMany() or iterate(), or a stream of pg-copy-streams on connection.raw.',
        statement.sql,
      )
    }
    if (!this.inTransaction) this.#transactionId = null
    const identifies =
      this.#transactionId === null &&
      !statement.facts.isSeveral &&
      WRITES.has(statement.facts.verb) &&
      this.raw.getTransactionStatus() === 'T'
    const native = await this.#query(statement, identifies)
    // Several statements in one text give several results; the last one counts, as in psql.
    const results = Array.isArray(native) ? (native as pg.QueryResult[]) : [native]
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

  async #query(statement: Statement, identifies: boolean): Promise<pg.QueryResult> {
    const config = {
      ...statement.driverOptions,
      text: statement.sql,
      values: [...statement.bindings],
      ...(statement.asArrays === true && { rowMode: 'array' }),
    }
    // The simple protocol, which pg chooses for a statement without values, knows neither limits nor company.
    const extended = { ...config, queryMode: 'extended' }
    const { isRead, isSeveral } = statement.facts
    const takesFirst = statement.take === 'first' && isRead && !isSeveral
    const sent = new Promise<pg.QueryResult>((resolve, reject) => {
      const callback = (error: Error | null, result: pg.QueryResult): void => {
        if (error) reject(error)
        else resolve(result)
      }
      if (takesFirst) this.raw.query(new FirstRowQuery(extended, callback))
      else if (identifies) this.raw.query(new IdentifiedQuery(extended, callback))
      else this.raw.query(config, callback)
    })
    this.#running = sent.catch(() => undefined)
    try {
      return await sent
    } catch (error) {
      await this.#readyAgain()
      throw error
    } finally {
      this.#running = null
    }
  }

  /** Asks what became of another session's transaction. https://www.postgresql.org/docs/current/functions-info.html */
  async outcomeOf(transactionId: string): Promise<Outcome> {
    const sql = 'SELECT txid_status($1::bigint) AS status'
    const { rows } = await this.run({ sql, bindings: [transactionId], facts: PLAIN, take: 'all' })
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

  // A cursor of SQL, not of the protocol: the connection can run other statements between two reads, and its
  // savepoints come and go. Outside of a transaction it must be held, or it would end with its own statement.
  async openCursor(statement: Statement, alone: boolean): Promise<Cursor> {
    // EXPLAIN and SHOW, and what writes, cannot be declared as a cursor.
    if (!statement.facts.isRead || !DECLARABLE.has(statement.facts.verb)) {
      return buffered([...(await this.run({ ...statement, take: 'all' })).rows] as Row[])
    }
    const name = `millpond_${(cursors += 1)}`
    const owns = alone && !this.inTransaction
    const isHeld = !owns && !this.inTransaction
    if (owns) await this.#plain('BEGIN')
    try {
      const sql = `DECLARE ${name} NO SCROLL CURSOR ${isHeld ? 'WITH HOLD ' : ''}FOR ${statement.sql}`
      await this.run({ sql, bindings: statement.bindings, facts: PLAIN, take: 'count' })
    } catch (error) {
      if (owns && this.broken === null) await this.#plain('ROLLBACK')
      throw error
    }
    if (isHeld) this.#heldCursors.add(name)
    return {
      read: async (count) => (await this.#plain(`FETCH ${count} FROM ${name}`)).rows as Row[],
      close: () => this.#closeCursor(name, owns),
    }
  }

  async #closeCursor(name: string, owns: boolean): Promise<void> {
    if (this.broken !== null) return
    const isHeld = this.#heldCursors.delete(name)
    const isOpen = this.raw.getTransactionStatus() === 'T'
    // A transaction that has ended or failed has taken its cursor along.
    if (owns) await this.#plain(isOpen ? 'COMMIT' : 'ROLLBACK')
    else if (isHeld || isOpen) await this.#plain(`CLOSE ${name}`)
  }

  #plain(sql: string): Promise<Result> {
    return this.run({ sql, bindings: [], facts: PLAIN, take: 'all' })
  }

  /** A request that overtakes its statement is forgotten by the server, so it is repeated until the statement has ended. */
  async cancel(): Promise<void> {
    for (let running = this.#running; running !== null && this.broken === null; running = this.#running) {
      await requestCancel(this.raw)
      await within(STRIKE_EVERY_MILLIS, running)
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
    for (const name of this.#heldCursors) await this.#closeCursor(name, false)
    return wasOpen ? 'an open transaction, which was rolled back' : null
  }

  async renew(): Promise<'new'> {
    await this.#plain('DISCARD ALL')
    // Prepared statements are gone as well, which pg does not notice.
    this.raw.connection.parsedStatements = {}
    return 'new'
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

/** The one value of a result, whether its rows are objects or arrays. */
function textOf(result: pg.QueryResult | undefined): string | null {
  const row = result?.rows[0] as object | undefined
  return row === undefined ? null : String(Object.values(row)[0])
}

function buffered(rows: Row[]): Cursor {
  return {
    read: (count) => Promise.resolve(rows.splice(0, count)),
    close: () => Promise.resolve(),
  }
}
