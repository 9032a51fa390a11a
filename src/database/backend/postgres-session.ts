/** One connection to PostgreSQL: pg's Client, watched so that it is never lent out in an unknown state. */
import { connect as connectSocket, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import type pg from 'pg'
import { ConnectionError, QueryError } from '../errors'
import type { Cursor, Outcome, Result, Row, Session, Statement } from './dialect'
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
  readonly connection: { readonly stream: Socket }
  getTransactionStatus(): 'I' | 'T' | 'E' | null
  ref(): void
  unref(): void
}

/** How long a ping, a cancel request or the end of a failed statement may take. */
const PATIENCE_MILLIS = 5000
const STRIKE_EVERY_MILLIS = 50

/** Commands whose tag counts rows that they changed; that of SELECT counts rows that it read. */
const CHANGES = new Set(['INSERT', 'UPDATE', 'DELETE', 'MERGE', 'COPY'])

/** Statements that write, and so give their transaction an id. What a SELECT writes by a function goes unnoticed. */
const WRITES = new Set(['INSERT', 'UPDATE', 'DELETE', 'MERGE', 'CREATE', 'ALTER', 'DROP', 'TRUNCATE'])

const COPIES_STREAM = /\b(?:from\s+stdin|to\s+stdout)\b/i

const DECLARABLE = new Set(['SELECT', 'VALUES', 'TABLE'])

const PLAIN = { verb: '', isRead: false, hasReturning: false }

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
    const takesFirst = statement.take === 'first' && statement.facts.isRead
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
      await this.#requestCancel()
      await within(STRIKE_EVERY_MILLIS, running)
    }
  }

  /**
   * Sends a CancelRequest and waits until the server has hung up: from then on it can no longer hit a later
   * statement. https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-CANCELING-REQUESTS
   */
  async #requestCancel(): Promise<void> {
    const { host, port, processID, secretKey } = this.raw
    const secret = Buffer.isBuffer(secretKey) ? secretKey : int32(secretKey)
    const request = Buffer.concat([int32(12 + secret.length), int32(80_877_102), int32(processID), secret])
    await new Promise<void>((resolve, reject) => {
      const socket = host.startsWith('/')
        ? connectSocket(`${host}/.s.PGSQL.${port}`)
        : connectSocket(port, host)
      socket.setTimeout(PATIENCE_MILLIS, () => socket.destroy(new Error('The cancel request got no answer.')))
      socket.once('error', reject)
      socket.once('close', () => {
        resolve()
      })
      socket.once('connect', () => {
        if (this.raw.ssl === false || this.raw.ssl === undefined) {
          socket.end(request)
          return
        }
        // The server answers one byte to an SSLRequest, and TLS begins.
        socket.write(Buffer.concat([int32(8), int32(80_877_103)]))
        socket.once('data', () => {
          const options = typeof this.raw.ssl === 'object' ? this.raw.ssl : {}
          const secure = connectTls({ ...options, socket, servername: host }, () => secure.end(request))
          secure.once('error', reject)
        })
      })
    })
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

  hold(alive: boolean): void {
    if (alive) this.raw.ref()
    else this.raw.unref()
  }

  destroy(): void {
    // The server would go on with a long statement until it has something to say. Nothing comes after it to be hit.
    if (this.#running !== null && this.broken === null) this.#requestCancel().catch(() => undefined)
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

function int32(value: number): Buffer {
  const buffer = Buffer.alloc(4)
  buffer.writeInt32BE(value)
  return buffer
}

function buffered(rows: Row[]): Cursor {
  return {
    read: (count) => Promise.resolve(rows.splice(0, count)),
    close: () => Promise.resolve(),
  }
}
