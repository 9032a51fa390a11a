/** A connection through the callback API of node-sqlite3, which @appthreat/sqlite3 has too. Each has a subclass. */
import type sqlite3 from 'sqlite3'
import type { Row, Statement } from '../driver/statement'
import { MAX_TEXT_LENGTH } from '../sql/text-cache'
import { ConnectionError } from '../errors'
import type { Changes, SqliteConnection, Steps } from './driver'
import { sizeOf } from './rows'

/** How many statements a connection keeps prepared, and which verbs: those that change neither the schema nor settings. */
const MAX_PREPARED = 200
const CACHEABLE = /^(?:SELECT|VALUES|INSERT|REPLACE|UPDATE|DELETE|BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE)$/
/** Rows of the first batch of a stream, and the approximate size of later ones, unless the reader says how many rows. */
const FIRST_BATCH = 16
const BATCH_BYTES = 2 ** 16

/** A callback for the rows of some steps; `isAtEnd`: the last step found no row. */
export type RowsCallback = (error: Error | null, rows: Row[], isAtEnd: boolean) => void
type Callback<T> = (error: Error | null, result?: T | Promise<T>) => void
type Work<T> = (prepared: sqlite3.Statement, settle: Callback<T>) => void

/** Passed where no callback is needed: without one @appthreat/sqlite3 returns a promise. */
const ignore = (): void => undefined

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
  abstract readonly arrays: SqliteConnection['arrays']
  protected abstract readonly maxBatch: number
  readonly #prepared = new Map<string, sqlite3.Statement>()
  /** The one long text that is kept: that of a bulk insert, whose next chunk mostly has the same. */
  #bulkSql = ''
  #isClosed = false

  constructor(raw: sqlite3.Database) {
    this.raw = raw
  }

  abstract columns(statement: Statement): ReturnType<SqliteConnection['columns']>
  /** Returns the statement in a form whose values the driver binds without loss. */
  protected abstract toBindable(statement: Statement): Statement
  /** Returns the rows with exact integers, or throws where the driver has rounded one. */
  protected abstract withExactIntegers(rows: Row[], statement: Statement): Row[] | Promise<Row[]>
  /** Takes at most `count` further steps. `bindings` are given at the first call only. */
  protected abstract nextRows(
    prepared: sqlite3.Statement,
    count: number,
    bindings: readonly unknown[] | undefined,
    settle: RowsCallback,
  ): void

  run(statement: Statement): Promise<Changes> {
    const bound = this.toBindable(statement)
    return this.withPrepared<Changes>(bound, (prepared, settle) => {
      prepared.run(bound.bindings, function (this: sqlite3.RunResult, error: Error | null) {
        settle(error, {
          rowCount: this.changes,
          lastId: Number.isSafeInteger(this.lastID) ? this.lastID : null,
        })
      })
    })
  }

  all(statement: Statement): Promise<Row[]> {
    const bound = this.toBindable(statement)
    return this.withPrepared<Row[]>(bound, (prepared, settle) => {
      prepared.all<Row>(bound.bindings, (error: Error | null, rows) => {
        settle(error, error === null && rows.length > 0 ? this.withExactIntegers(rows, bound) : rows)
      })
    })
  }

  first(statement: Statement): Promise<Row[]> {
    const bound = this.toBindable(statement)
    return this.withPrepared<Row[]>(bound, (prepared, settle) => {
      // `get` restarts a finished statement only if it binds values: Statement::Work_Get.
      if (bound.bindings.length === 0) prepared.reset(ignore)
      prepared.get<Row>(bound.bindings, (error: Error | null, row?: Row) => {
        if (error !== null) settle(error)
        else prepared.reset(() => settle(null, row === undefined ? [] : this.withExactIntegers([row], bound)))
      })
    })
  }

  async step(statement: Statement, _keepsAllRows: boolean): Promise<Steps> {
    const bound = this.toBindable(statement)
    const prepared = await this.prepare(bound.sql)
    let isAtEnd = false
    let isBound = false
    let size = FIRST_BATCH
    return {
      get isAtEnd() {
        return isAtEnd
      },
      read: async (count) => {
        const rows = await new Promise<Row[]>((resolve, reject) => {
          this.nextRows(
            prepared,
            count ?? size,
            isBound ? undefined : bound.bindings,
            (error, found, isLast) => {
              isAtEnd = error === null && isLast
              if (error === null) resolve(this.withExactIntegers(found, bound))
              else reject(error)
            },
          )
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
    for (const sql of this.#prepared.keys()) this.#finalize(sql)
  }

  /** Runs `work` with the prepared statement; `work` calls `settle` within a callback of the driver. */
  protected withPrepared<T>(statement: Statement, work: Work<T>): Promise<T> {
    const kept = this.#prepared.get(statement.sql)
    return kept === undefined
      ? this.#prepareAndRun(statement, work)
      : this.#runPrepared(statement.sql, kept, work)
  }

  async #prepareAndRun<T>({ sql, facts, isPartOfBulk }: Statement, work: Work<T>): Promise<T> {
    const prepared = await this.prepare(sql)
    const isShort = sql.length <= MAX_TEXT_LENGTH
    if (CACHEABLE.test(facts.verb) && !facts.isMultiStatement && (isShort || isPartOfBulk === true)) {
      if (!isShort) {
        this.#finalize(this.#bulkSql)
        this.#bulkSql = sql
      }
      if (this.#prepared.size >= MAX_PREPARED) this.#finalize(this.#prepared.keys().next().value ?? '')
      this.#prepared.set(sql, prepared)
    }
    return this.#runPrepared(sql, prepared, work)
  }

  #runPrepared<T>(sql: string, prepared: sqlite3.Statement, work: Work<T>): Promise<T> {
    // Moves it to the end of the map, so that the least recently used statement is evicted first.
    const isKept = this.#prepared.delete(sql)
    if (isKept) this.#prepared.set(sql, prepared)
    return new Promise((resolve, reject) => {
      work(prepared, (error, result) => {
        // At once, because a connection that has prepared statements cannot be closed.
        if (!isKept) prepared.finalize(ignore)
        // SQLite counts a statement that found the file locked as running, and an interrupt stays in force while one runs.
        else if (error !== null) this.#finalize(sql)
        if (error === null) resolve(result as T | Promise<T>)
        else reject(error)
      })
    })
  }

  #finalize(sql: string): void {
    const prepared = this.#prepared.get(sql)
    // The driver throws if a statement is finalized twice.
    if (this.#prepared.delete(sql)) prepared?.finalize(ignore)
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
