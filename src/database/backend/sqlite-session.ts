/** One connection to a SQLite file: sqlite3's Database, with the transaction state that it does not tell. */
import type sqlite3 from 'sqlite3'
import { ConnectionError, QueryError } from '../errors'
import { Limits } from '../limits'
import type { Mutex, Unlock } from '../mutex'
import type { Cursor, Result, Row, Session, Statement } from './dialect'

export type RawConnection = sqlite3.Database

/** The two queues of a file's writers: one to take a connection, one to write. */
export interface WriteTurns {
  readonly door: Mutex
  readonly writer: Mutex
}

interface OpenCursor {
  readonly prepared: sqlite3.Statement
  isAtEnd: boolean
}

const BUSY_TIMEOUT_MILLIS = 5000
const STRIKE_EVERY_MILLIS = 5
const CHANGES = new Set(['INSERT', 'REPLACE', 'UPDATE', 'DELETE'])
const ENDS = new Set(['COMMIT', 'END', 'ROLLBACK'])

/** After these SQLite may have rolled the whole transaction back: https://www.sqlite.org/lang_transaction.html */
const MAY_ROLL_BACK = /^SQLITE_(FULL|IOERR|NOMEM|BUSY|INTERRUPT|ABORT|CORRUPT)/

export async function openSession(
  raw: RawConnection,
  turns: WriteTurns,
  isMemory: boolean,
): Promise<Session> {
  // Parallel statements on one connection block the event loop: TryGhost/node-sqlite3#1394.
  raw.serialize()
  const session = new SqliteSession(raw, turns)
  // First of all how long to wait: switching to WAL may already find the file locked.
  await session.pragma(`busy_timeout = ${BUSY_TIMEOUT_MILLIS}`)
  if (!isMemory) await session.pragma('journal_mode = WAL')
  await session.pragma('synchronous = NORMAL')
  await session.pragma('foreign_keys = ON')
  return session
}

class SqliteSession implements Session {
  readonly raw: RawConnection
  readonly #turns: WriteTurns
  readonly #cursors = new Set<sqlite3.Statement>()
  #broken: Error | null = null
  #running = false
  /** `lost`: SQLite has rolled it back by itself, and nobody who works in it knows yet. */
  #transaction: 'none' | 'open' | 'lost' = 'none'
  #endWriting: Unlock | null = null
  #waiting: AbortController | null = null
  #isOpen = true

  constructor(raw: RawConnection, turns: WriteTurns) {
    this.raw = raw
    this.#turns = turns
  }

  get broken(): Error | null {
    return this.#broken
  }

  get inTransaction(): boolean {
    return this.#transaction !== 'none'
  }

  async run(statement: Statement): Promise<Result> {
    const { verb, isRead } = statement.facts
    const endsAll = ENDS.has(verb) && !/\bTO\b/i.test(statement.sql)
    if (this.#transaction === 'lost') return this.#answerLost(statement, endsAll)
    this.#running = true
    try {
      if (!isRead && !endsAll && !/^BEGIN\s+DEFERRED/i.test(statement.sql)) await this.#startWriting()
      const result = await this.#send(verb === 'BEGIN' ? immediate(statement) : statement)
      if (verb === 'BEGIN' || verb === 'SAVEPOINT') this.#transaction = 'open'
      if (endsAll) this.#transaction = 'none'
      return result
    } catch (error) {
      if (this.#transaction === 'open' && error instanceof Error && MAY_ROLL_BACK.test(error.message))
        await this.#probe()
      throw error
    } finally {
      this.#running = false
      if (this.#transaction === 'none') this.#stopWriting()
    }
  }

  /** The writer's turn lasts as long as its transaction, or else as its statement. */
  async #startWriting(): Promise<void> {
    if (this.#endWriting !== null) return
    this.#waiting = new AbortController()
    try {
      this.#endWriting = await this.#turns.writer.lock(Limits.none.and(this.#waiting.signal))
    } finally {
      this.#waiting = null
    }
  }

  #stopWriting(): void {
    this.#endWriting?.()
    this.#endWriting = null
  }

  /** There is no call that says whether a transaction is open, but BEGIN fails if one is. */
  async #probe(): Promise<void> {
    try {
      await this.#exec('BEGIN DEFERRED')
    } catch {
      return
    }
    await this.#exec('ROLLBACK')
    this.#transaction = 'lost'
    this.#stopWriting()
  }

  /** As PostgreSQL does in an aborted transaction: nothing runs, and COMMIT is answered by ROLLBACK. */
  #answerLost(statement: Statement, endsAll: boolean): Result {
    if (!endsAll) {
      throw new QueryError(
        'The transaction was rolled back by SQLite because of an earlier error, so nothing runs in it any more.',
        statement.sql,
      )
    }
    this.#transaction = 'none'
    return {
      rows: [],
      rowCount: 0,
      lastInsertId: null,
      command: 'ROLLBACK',
      forKnex: { response: [], context: {} },
    }
  }

  #send(statement: Statement): Promise<Result> {
    const { sql, facts, take } = statement
    const bindings = [...statement.bindings]
    const changes = CHANGES.has(facts.verb)
    return new Promise((resolve, reject) => {
      if (take === 'count' && !facts.hasReturning) {
        this.raw.run(sql, bindings, function (this: sqlite3.RunResult, error: Error | null) {
          if (error) {
            reject(error)
            return
          }
          // The driver's figures are those of the last INSERT or UPDATE, however long ago it was.
          const rowCount = changes ? this.changes : 0
          const isInsert = facts.verb === 'INSERT' || facts.verb === 'REPLACE'
          const lastInsertId = isInsert && rowCount > 0 ? this.lastID : null
          resolve({
            rows: [],
            rowCount,
            lastInsertId,
            command: facts.verb,
            forKnex: { response: [], context: this },
          })
        })
        return
      }
      const done = (error: Error | null, found?: Row[] | Row): void => {
        if (error) {
          reject(error)
          return
        }
        const objects = found === undefined ? [] : Array.isArray(found) ? found : [found]
        const rows = statement.asArrays === true ? objects.map((row) => Object.values(row)) : objects
        const rowCount = changes ? rows.length : 0
        resolve({
          rows,
          rowCount,
          lastInsertId: null,
          command: facts.verb,
          forKnex: { response: rows, context: {} },
        })
      }
      if (take === 'first' && facts.isRead) this.raw.get<Row>(sql, bindings, done)
      else this.raw.all<Row>(sql, bindings, done)
    })
  }

  #exec(sql: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.raw.exec(sql, (error) => {
        if (error) reject(error)
        else resolve()
      })
    })
  }

  pragma(text: string): Promise<void> {
    return this.#exec(`PRAGMA ${text}`)
  }

  async openCursor(statement: Statement): Promise<Cursor> {
    if (!statement.facts.isRead) {
      const rows = [...(await this.run({ ...statement, take: 'all' })).rows] as Row[]
      return { read: (count) => Promise.resolve(rows.splice(0, count)), close: () => Promise.resolve() }
    }
    const prepared = await this.#prepare(statement)
    const cursor = { prepared, isAtEnd: false }
    this.#cursors.add(prepared)
    return {
      read: (count) => this.#step(cursor, count),
      close: () => {
        this.#cursors.delete(prepared)
        return this.broken === null
          ? new Promise((resolve) => prepared.finalize(() => resolve()))
          : Promise.resolve()
      },
    }
  }

  #prepare(statement: Statement): Promise<sqlite3.Statement> {
    return new Promise((resolve, reject) => {
      const prepared = this.raw.prepare(statement.sql, [...statement.bindings], (error: Error | null) => {
        if (error) reject(error)
        else resolve(prepared)
      })
    })
  }

  /**
   * `get` takes one step, so that rows are made as they are asked for; `each` would push them all. Never one `get`
   * more than there are rows: after the last one the driver starts the statement again.
   */
  async #step(cursor: OpenCursor, count: number): Promise<readonly Row[]> {
    if (cursor.isAtEnd) return []
    this.#running = true
    try {
      const rows: Row[] = []
      await new Promise<void>((resolve, reject) => {
        const next = (): void => {
          cursor.prepared.get<Row>((error, row) => {
            cursor.isAtEnd = row === undefined
            if (row !== undefined) rows.push(row)
            if (error) reject(error)
            else if (cursor.isAtEnd || rows.length === count) resolve()
            else next()
          })
        }
        next()
      })
      return rows
    } finally {
      this.#running = false
    }
  }

  /** An interrupt that comes before the first step of a statement is forgotten, so it is repeated until it has hit. */
  async cancel(): Promise<void> {
    this.#waiting?.abort()
    await new Promise<void>((resolve) => {
      const strike = (): void => {
        if (!this.#running || this.#broken !== null) {
          clearInterval(timer)
          resolve()
        } else if (this.#waiting === null) {
          this.raw.interrupt()
        }
      }
      const timer = setInterval(strike, STRIKE_EVERY_MILLIS)
      strike()
    })
  }

  async ping(): Promise<void> {
    await this.#exec('SELECT 1')
  }

  async reset(): Promise<string | null> {
    for (const prepared of this.#cursors) prepared.finalize()
    this.#cursors.clear()
    if (!this.inTransaction) return null
    if (this.#transaction === 'open') await this.#exec('ROLLBACK')
    this.#transaction = 'none'
    this.#stopWriting()
    return 'an open transaction, which was rolled back'
  }

  // A file that is open does not keep Node running.
  hold(): void {}

  destroy(): void {
    if (this.#broken !== null) return
    this.#broken = new ConnectionError('The connection was closed.')
    this.#waiting?.abort()
    this.raw.interrupt()
    void this.#shut()
  }

  async close(): Promise<void> {
    if (this.#broken !== null && !this.#isOpen) return
    this.#broken ??= new ConnectionError('The connection was closed.')
    await this.#shut()
  }

  async #shut(): Promise<void> {
    if (!this.#isOpen) return
    this.#isOpen = false
    for (const prepared of this.#cursors) prepared.finalize()
    this.#cursors.clear()
    // Queued behind whatever still runs; SQLite rolls an open transaction back as it closes.
    await new Promise<void>((resolve) => {
      this.raw.close(() => {
        resolve()
      })
    })
    this.#stopWriting()
  }
}

/** A bare BEGIN, such as Knex's own, is a BEGIN IMMEDIATE here: it is there to write, or it would not be there. */
function immediate(statement: Statement): Statement {
  return /^\s*BEGIN(\s+TRANSACTION)?\s*;?\s*$/i.test(statement.sql)
    ? { ...statement, sql: 'BEGIN IMMEDIATE' }
    : statement
}
