/** A connection through the callback API of node-sqlite3, which @appthreat/sqlite3 has too. Each has a subclass. */
import type sqlite3 from 'sqlite3'
import type { Cursor, Row, Statement } from '../driver/statement'
import { ConnectionError } from '../errors'
import { MAX_TEXT_LENGTH } from '../sql/text-cache'
import type { Changes, SqliteConnection } from './driver'
import { sizeOf } from './rows'

/** How many statements a connection keeps prepared, and which verbs: those that change neither the schema nor settings. */
const MAX_PREPARED = 200
const CACHEABLE = /^(?:SELECT|VALUES|INSERT|REPLACE|UPDATE|DELETE|BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE)$/
/** Rows of the first batch of a stream, and the approximate size of later ones, unless the reader says how many rows. */
const FIRST_BATCH = 16
const BATCH_BYTES = 2 ** 16

/** A callback for the rows of some steps; `isAtEnd`: the last step found no row. */
export type RowsCallback = (error: Error | null, rows: Row[], isAtEnd: boolean) => void
type Callback<T> = (error: Error | null, result?: T) => void
/** Starts a prepared statement. */
export type Start<T> = (prepared: sqlite3.Statement, bindings: readonly unknown[], done: Callback<T>) => void

/** Passed where no callback is needed: without one @appthreat/sqlite3 returns a promise. */
const ignore = (): void => undefined

const run: Start<Changes> = (prepared, bindings, done) => {
  prepared.run(bindings, function (this: sqlite3.RunResult, error: Error | null) {
    done(error, {
      rowCount: this.changes,
      lastId: Number.isSafeInteger(this.lastID) ? this.lastID : null,
    })
  })
}

const all: Start<Row[]> = (prepared, bindings, done) => {
  prepared.all(bindings, done)
}

const first: Start<Row[]> = (prepared, bindings, done) => {
  // `get` restarts a finished statement only if it binds values: Statement::Work_Get.
  if (bindings.length === 0) prepared.reset(ignore)
  prepared.get<Row>(bindings, (error: Error | null, row?: Row) => {
    if (error !== null) done(error)
    else prepared.reset(() => done(null, row === undefined ? [] : [row]))
  })
}

class KeptStatement {
  readonly prepared: sqlite3.Statement
  /** True if it was run since it was last passed over, by a mark that is cheaper than an order of use. */
  isUsed = false

  constructor(prepared: sqlite3.Statement) {
    this.prepared = prepared
  }
}

export function openRaw(driver: typeof sqlite3, file: string, flags: number): Promise<sqlite3.Database> {
  return new Promise((resolve, reject) => {
    const raw = new driver.Database(file, flags, (error) => {
      // Parallel statements on one connection block the event loop: TryGhost/node-sqlite3#1394.
      if (error === null) raw.serialize()
      if (error === null) resolve(raw)
      else reject(error)
    })
  })
}

export abstract class CallbackConnection implements SqliteConnection {
  readonly raw: sqlite3.Database
  abstract readonly roundsIntegers: boolean
  abstract readonly arrays: SqliteConnection['arrays']
  protected abstract readonly maxBatch: number
  readonly #kept = new Map<string, KeptStatement>()
  /** The one long text that is kept: that of a bulk insert, whose next chunk mostly has the same. */
  #bulkSql = ''
  #isClosed = false

  constructor(raw: sqlite3.Database) {
    this.raw = raw
  }

  abstract columns(statement: Statement): ReturnType<SqliteConnection['columns']>
  /** Takes at most `count` further steps. `bindings` are given at the first call only. */
  protected abstract nextRows(
    prepared: sqlite3.Statement,
    count: number,
    bindings: readonly unknown[] | undefined,
    done: RowsCallback,
  ): void

  run(statement: Statement): Promise<Changes> {
    return this.withPrepared(statement, run)
  }

  all(statement: Statement): Promise<Row[]> {
    return this.withPrepared(statement, all)
  }

  first(statement: Statement): Promise<Row[]> {
    return this.withPrepared(statement, first)
  }

  async openCursor({ sql, bindings }: Statement, _keepsAllRows: boolean): Promise<Cursor> {
    const prepared = await this.prepare(sql)
    let isAtEnd = false
    let isBound = false
    let size = FIRST_BATCH
    return {
      get isAtEnd() {
        return isAtEnd
      },
      read: async (count) => {
        const rows = await new Promise<Row[]>((resolve, reject) => {
          this.nextRows(prepared, count ?? size, isBound ? undefined : bindings, (error, found, isLast) => {
            isAtEnd = error === null && isLast
            if (error === null) resolve(found)
            else reject(error)
          })
          isBound = true
        })
        // Large rows are read in small batches, so that a stream takes little memory.
        size = Math.min(this.maxBatch, Math.ceil((rows.length * BATCH_BYTES) / (1 + sizeOf(rows))))
        return rows
      },
      close: () => new Promise((resolve) => void prepared.finalize(() => resolve())),
    }
  }

  interrupt(): void {
    // The driver throws if the connection is closed.
    if (!this.#isClosed) this.raw.interrupt()
  }

  async close(): Promise<void> {
    this.#isClosed = true
    // The driver cannot close a connection that has prepared statements.
    this.finalizeStatements()
    await new Promise((resolve) => {
      this.raw.close(resolve)
    })
  }

  finalizeStatements(): void {
    for (const sql of this.#kept.keys()) this.#finalize(sql)
  }

  /** Prepares the statement, unless it is kept, and starts it. `start` calls `done` within a callback of the driver. */
  protected withPrepared<T>(statement: Statement, start: Start<T>): Promise<T> {
    const kept = this.#kept.get(statement.sql)
    if (kept === undefined) return this.#prepareAndRun(statement, start)
    kept.isUsed = true
    return this.#run(statement, kept.prepared, true, start)
  }

  async #prepareAndRun<T>(statement: Statement, start: Start<T>): Promise<T> {
    const { sql, facts, isPartOfBulk } = statement
    const prepared = await this.prepare(sql)
    const isShort = sql.length <= MAX_TEXT_LENGTH
    const isKept = CACHEABLE.test(facts.verb) && !facts.isMultiStatement && (isShort || isPartOfBulk === true)
    if (isKept) {
      if (!isShort) {
        this.#finalize(this.#bulkSql)
        this.#bulkSql = sql
      }
      this.#makeRoom()
      this.#kept.set(sql, new KeptStatement(prepared))
    }
    return this.#run(statement, prepared, isKept, start)
  }

  #run<T>(
    { sql, bindings }: Statement,
    prepared: sqlite3.Statement,
    isKept: boolean,
    start: Start<T>,
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      start(prepared, bindings, (error, result) => {
        // At once, because a connection that has prepared statements cannot be closed.
        if (!isKept) prepared.finalize(ignore)
        // SQLite counts a statement that found the file locked as running, and an interrupt stays in force while one runs.
        else if (error !== null) this.#finalize(sql)
        if (error === null) resolve(result as T)
        else reject(error)
      })
    })
  }

  /** Gives up the oldest statement that was not used of late. One that was goes to the end. */
  #makeRoom(): void {
    for (const [sql, kept] of this.#kept) {
      if (this.#kept.size < MAX_PREPARED) return
      if (!kept.isUsed) {
        this.#finalize(sql)
      } else {
        kept.isUsed = false
        this.#kept.delete(sql)
        this.#kept.set(sql, kept)
      }
    }
  }

  #finalize(sql: string): void {
    const kept = this.#kept.get(sql)
    // The driver throws if a statement is finalized twice.
    if (this.#kept.delete(sql)) kept?.prepared.finalize(ignore)
  }

  protected prepare(sql: string): Promise<sqlite3.Statement> {
    return new Promise((resolve, reject) => {
      const prepared = this.raw.prepare(sql, (error: Error | null) => {
        if (error === null && !this.#isClosed) return resolve(prepared)
        if (error === null) prepared.finalize(ignore)
        reject(error ?? new ConnectionError('The connection was closed.'))
      })
    })
  }
}
