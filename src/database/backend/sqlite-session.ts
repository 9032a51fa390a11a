/** One connection to a SQLite file: sqlite3's Database, with the transaction state that it does not tell. */
import { ConnectionError, QueryError } from '../errors'
import { Limits } from '../limits'
import type { Mutex, Unlock } from '../mutex'
import type { Cursor, Result, Row, Session, Statement } from './dialect'
import { exec, type OpenCursor, openCursor, type RawConnection, readRows, send } from './sqlite-driver'

/** The two queues of a file's writers: one to take a connection, one to write. */
export interface WriteTurns {
  readonly door: Mutex
  readonly writer: Mutex
}

const BUSY_TIMEOUT_MILLIS = 5000
const STRIKE_EVERY_MILLIS = 5
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
  readonly #cursors = new Set<OpenCursor>()
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
      const result = await send(this.raw, verb === 'BEGIN' ? immediate(statement) : statement)
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
      await exec(this.raw, 'BEGIN DEFERRED')
    } catch {
      return
    }
    await exec(this.raw, 'ROLLBACK')
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

  pragma(text: string): Promise<void> {
    return exec(this.raw, `PRAGMA ${text}`)
  }

  async openCursor(statement: Statement): Promise<Cursor> {
    if (!statement.facts.isRead) {
      const rows = [...(await this.run({ ...statement, take: 'all' })).rows] as Row[]
      return { read: (count) => Promise.resolve(rows.splice(0, count)), close: () => Promise.resolve() }
    }
    const cursor = await openCursor(this.raw, statement)
    this.#cursors.add(cursor)
    return {
      read: (count) => this.#read(cursor, count),
      close: async () => {
        if (!this.#cursors.delete(cursor)) return
        await new Promise((resolve) => cursor.prepared.finalize(resolve))
      },
    }
  }

  async #read(cursor: OpenCursor, count: number): Promise<readonly Row[]> {
    this.#running = true
    try {
      return await readRows(cursor, count)
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
    await exec(this.raw, 'SELECT 1')
  }

  async reset(): Promise<string | null> {
    for (const cursor of this.#cursors) cursor.prepared.finalize()
    this.#cursors.clear()
    if (!this.inTransaction) return null
    if (this.#transaction === 'open') await exec(this.raw, 'ROLLBACK')
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
    for (const cursor of this.#cursors) cursor.prepared.finalize()
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
