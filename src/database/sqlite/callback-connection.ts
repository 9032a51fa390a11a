/** A connection by the callback API of node-sqlite3, which its successor has as well. What differs is in two subclasses. */
import type sqlite3 from 'sqlite3'
import type { Row, Statement } from '../driver/statement'
import { MAX_TEXT_LENGTH } from '../sql/text-cache'
import { ConnectionError } from '../errors'
import type { Changes, SqliteConnection, Steps } from './driver'
import { sizeOf } from './rows'

/** How many statements a connection keeps prepared, and which: those that change neither the schema nor the connection. */
const MOST_KEPT = 200
const KEPT = /^(?:SELECT|VALUES|INSERT|REPLACE|UPDATE|DELETE|BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE)$/
/** Where the reader of a stream does not say: rows of the first piece, and what later pieces come close to. */
const FIRST_PIECE = 16
const PIECE_BYTES = 2 ** 16

/** Takes the rows of some steps, and whether the last step found none. */
export type SettleRows = (error: Error | null, rows: Row[], isAtEnd: boolean) => void
type Settle<T> = (error: Error | null, result?: T | Promise<T>) => void
type Work<T> = (prepared: sqlite3.Statement, settle: Settle<T>) => void

/** @appthreat/sqlite3 makes a promise of each call without a callback. */
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
  protected abstract readonly longestPiece: number
  readonly #kept = new Map<string, sqlite3.Statement>()
  #isClosed = false

  constructor(raw: sqlite3.Database) {
    this.raw = raw
  }

  abstract columns(statement: Statement): ReturnType<SqliteConnection['columns']>
  /** The statement as the driver binds its values without loss. */
  protected abstract bindable(statement: Statement): Statement
  /** Sees to it that no integer of these rows is rounded. */
  protected abstract exact(rows: Row[], statement: Statement): Row[] | Promise<Row[]>
  /** Takes at most so many further steps. `bindings` are those of the first time, and undefined later. */
  protected abstract next(
    prepared: sqlite3.Statement,
    count: number,
    bindings: readonly unknown[] | undefined,
    settle: SettleRows,
  ): void

  run(given: Statement): Promise<Changes> {
    const bound = this.bindable(given)
    return this.perform<Changes>(bound, (prepared, settle) => {
      prepared.run(bound.bindings, function (this: sqlite3.RunResult, error: Error | null) {
        settle(error, {
          rowCount: this.changes,
          lastId: Number.isSafeInteger(this.lastID) ? this.lastID : null,
        })
      })
    })
  }

  all(given: Statement): Promise<Row[]> {
    const bound = this.bindable(given)
    return this.perform<Row[]>(bound, (prepared, settle) => {
      prepared.all<Row>(bound.bindings, (error: Error | null, rows) => {
        settle(error, error === null && rows.length > 0 ? this.exact(rows, bound) : rows)
      })
    })
  }

  first(given: Statement): Promise<Row[]> {
    const bound = this.bindable(given)
    return this.perform<Row[]>(bound, (prepared, settle) => {
      // Once at its end, `get` starts a statement again only where it binds values: Statement::Work_Get.
      if (bound.bindings.length === 0) prepared.reset(ignore)
      prepared.get<Row>(bound.bindings, (error: Error | null, row?: Row) => {
        if (error !== null) settle(error)
        else prepared.reset(() => settle(null, row === undefined ? [] : this.exact([row], bound)))
      })
    })
  }

  async step(given: Statement, _isHeld: boolean): Promise<Steps> {
    const bound = this.bindable(given)
    const prepared = await this.prepare(bound.sql)
    let isAtEnd = false
    let isBound = false
    let size = FIRST_PIECE
    return {
      get isAtEnd() {
        return isAtEnd
      },
      read: async (count) => {
        const rows = await new Promise<Row[]>((resolve, reject) => {
          this.next(prepared, count ?? size, isBound ? undefined : bound.bindings, (error, found, isLast) => {
            isAtEnd = error === null && isLast
            if (error === null) resolve(this.exact(found, bound))
            else reject(error)
          })
          isBound = true
        })
        // Large rows come in small pieces, so that a stream takes little memory.
        size = Math.min(this.longestPiece, Math.ceil((rows.length * PIECE_BYTES) / (1 + sizeOf(rows))))
        return rows
      },
      close: () => new Promise((resolve) => void prepared.finalize(() => resolve())),
    }
  }

  interrupt(): void {
    // The driver throws where the connection is closed.
    if (!this.#isClosed) this.raw.interrupt()
  }

  async close(): Promise<void> {
    this.#isClosed = true
    // A connection cannot be closed while it has statements.
    this.forgetStatements()
    await new Promise((resolve) => {
      this.raw.close(resolve)
    })
  }

  forgetStatements(): void {
    for (const sql of this.#kept.keys()) this.#forget(sql)
  }

  /** Runs `work`, which settles within a callback of the driver. */
  protected perform<T>(given: Statement, work: Work<T>): Promise<T> {
    const kept = this.#kept.get(given.sql)
    return kept === undefined ? this.#prepareAndPerform(given, work) : this.#perform(given.sql, kept, work)
  }

  async #prepareAndPerform<T>({ sql, facts }: Statement, work: Work<T>): Promise<T> {
    const prepared = await this.prepare(sql)
    if (KEPT.test(facts.verb) && !facts.isMultiStatement && sql.length <= MAX_TEXT_LENGTH) {
      if (this.#kept.size >= MOST_KEPT) this.#forget(this.#kept.keys().next().value ?? '')
      this.#kept.set(sql, prepared)
    }
    return this.#perform(sql, prepared, work)
  }

  #perform<T>(sql: string, prepared: sqlite3.Statement, work: Work<T>): Promise<T> {
    // At the end of the order, so that what was not used for the longest time is forgotten first.
    const isKept = this.#kept.delete(sql)
    if (isKept) this.#kept.set(sql, prepared)
    return new Promise((resolve, reject) => {
      work(prepared, (error, result) => {
        // At once, since a connection that has statements cannot be closed.
        if (!isKept) prepared.finalize(ignore)
        // A statement that found the file locked counts as running, and SQLite keeps an interrupt until none does.
        else if (error !== null) this.#forget(sql)
        if (error === null) resolve(result as T | Promise<T>)
        else reject(error)
      })
    })
  }

  #forget(sql: string): void {
    const prepared = this.#kept.get(sql)
    // The driver throws where a statement is finalized twice.
    if (this.#kept.delete(sql)) prepared?.finalize(ignore)
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
