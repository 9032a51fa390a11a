/** A connection by the callback API of node-sqlite3, which its successor has as well. What differs is in two subclasses. */
import type sqlite3 from 'sqlite3'
import type { Row, Statement } from '../backend/dialect'
import { LONGEST_KEPT } from '../backend/text-cache'
import { ConnectionError } from '../errors'
import {
  type Bound,
  type Changes,
  type Column,
  type Columns,
  type SqliteConnection,
  sizeOf,
  type Steps,
} from './driver'

/** How many statements a connection keeps prepared, and which: all but those that change the schema or the connection. */
const MOST_KEPT = 200
const KEPT = /^(?:SELECT|VALUES|INSERT|REPLACE|UPDATE|DELETE|BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE)$/
/** Where the reader of a stream does not say: rows of the first piece, and what later pieces come close to. */
const FIRST_PIECE = 16
const PIECE_BYTES = 2 ** 16

export interface Prepared {
  readonly statement: sqlite3.Statement
  /** For a driver that tells them, once it was asked. */
  columns?: readonly Column[]
  isKept: boolean
  /** The higher, the later it was used. */
  lastUse: number
}
/** Takes the rows of some steps, and whether the last step found none. */
export type SettleRows = (error: Error | null, rows: Row[], isAtEnd: boolean) => void
/** @appthreat/sqlite3 makes a promise of each call without a callback. */
const ignore = (): void => undefined
type Settle<T> = (error: Error | null, result?: T | Promise<T>) => void

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
  readonly #kept = new Map<string, Prepared>()
  #uses = 0
  /** The one text that is kept though it is long: that of a bulk insert, whose next chunk mostly has the same. */
  #long = ''
  #isClosed = false

  constructor(raw: sqlite3.Database) {
    this.raw = raw
  }

  abstract columns(statement: Statement, byPosition: boolean): Columns | Promise<Columns>
  abstract forgetSchema(): void
  /** The statement as the driver binds its values without loss. */
  protected abstract bindable(statement: Statement): Statement
  /** Sees to it that no integer of these rows is rounded. */
  protected abstract exact(rows: Row[], statement: Statement): Row[] | Promise<Row[]>
  /** Takes at most so many further steps. `bindings` are those of the first time, and undefined later. */
  protected abstract next(
    prepared: Prepared,
    count: number,
    bindings: readonly unknown[] | undefined,
    settle: SettleRows,
  ): void

  run(given: Statement): Promise<Changes> {
    const bound = this.bindable(given)
    return this.perform<Changes>(bound, ({ statement }, settle) => {
      // One step is only the beginning of these, and a query would keep its view of the file.
      if (/^(?:SELECT|VALUES|PRAGMA)$/.test(bound.facts.verb))
        statement.all(bound.bindings, (error: Error | null) => {
          settle(error, { rowCount: 0, lastId: null })
        })
      else
        statement.run(bound.bindings, function (this: sqlite3.RunResult, error: Error | null) {
          const lastId = Number.isSafeInteger(this.lastID) ? this.lastID : null
          settle(error, { rowCount: this.changes, lastId })
        })
    })
  }

  all(given: Statement): Promise<Row[]> {
    const bound = this.bindable(given)
    return this.perform<Row[]>(bound, ({ statement }, settle) => {
      statement.all<Row>(bound.bindings, (error: Error | null, rows) => {
        settle(error, error === null && rows.length > 0 ? this.exact(rows, bound) : rows)
      })
    })
  }

  first(given: Statement): Promise<Row[]> {
    const bound = this.bindable(given)
    return this.perform<Row[]>(bound, ({ statement }, settle) => {
      // Once at its end, `get` starts a statement again only where it binds values: Statement::Work_Get.
      if (bound.bindings.length === 0) statement.reset(ignore)
      statement.get<Row>(bound.bindings, (error: Error | null, row?: Row) => {
        if (error !== null) settle(error)
        else
          statement.reset(() => {
            settle(null, row === undefined ? [] : this.exact([row], bound))
          })
      })
    })
  }

  async upTo(statement: Statement, bound: Bound): Promise<Row[] | null> {
    const steps = await this.step(statement)
    const rows: Row[] = []
    let bytes = 0
    try {
      while (!steps.isAtEnd) {
        const piece = await steps.read(null)
        bytes += sizeOf(piece)
        for (const row of piece) rows.push(row)
        if (rows.length > bound.rows || bytes > bound.bytes) return null
      }
      return rows
    } finally {
      await steps.close()
    }
  }

  async step(given: Statement): Promise<Steps> {
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
        const bytes = 1 + sizeOf(rows)
        size = Math.min(this.longestPiece, Math.ceil((rows.length * PIECE_BYTES) / bytes))
        return rows
      },
      close: () => new Promise((resolve) => void prepared.statement.finalize(() => resolve())),
    }
  }

  protected abstract readonly longestPiece: number

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

  protected forgetStatements(): void {
    for (const sql of this.#kept.keys()) this.#forget(sql)
  }

  protected kept(sql: string): Prepared | undefined {
    return this.#kept.get(sql)
  }

  /** Runs `work`, which settles within a callback of the driver. */
  protected perform<T>(given: Statement, work: (prepared: Prepared, settle: Settle<T>) => void): Promise<T> {
    const kept = this.#kept.get(given.sql)
    return kept === undefined ? this.#prepareAndPerform(given, work) : this.#perform(given.sql, kept, work)
  }

  async #prepareAndPerform<T>(
    { sql, facts, isOneOfMany }: Statement,
    work: (prepared: Prepared, settle: Settle<T>) => void,
  ): Promise<T> {
    const prepared = await this.prepare(sql)
    const isShort = sql.length <= LONGEST_KEPT
    if (KEPT.test(facts.verb) && !facts.isSeveral && (isShort || isOneOfMany)) this.#keep(sql, prepared)
    return this.#perform(sql, prepared, work)
  }

  /** Finalizes a statement that is not kept there and then: a connection that is about to be closed would stay open. */
  #perform<T>(
    sql: string,
    prepared: Prepared,
    work: (prepared: Prepared, settle: Settle<T>) => void,
  ): Promise<T> {
    // Not by its place in the Map, which would change with every statement.
    prepared.lastUse = this.#uses += 1
    return new Promise((resolve, reject) => {
      work(prepared, (error, result) => {
        // One that found the file locked counts as running, and while it does so an interrupt is not over.
        if (error !== null) this.#forget(sql)
        if (!prepared.isKept) prepared.statement.finalize(ignore)
        if (error === null) resolve(result as T | Promise<T>)
        else reject(error)
      })
    })
  }

  #keep(sql: string, prepared: Prepared): void {
    if (this.#kept.size >= MOST_KEPT) {
      let [least, lowest] = ['', Infinity]
      for (const [text, { lastUse }] of this.#kept) if (lastUse < lowest) [least, lowest] = [text, lastUse]
      this.#forget(least)
    }
    if (sql.length > LONGEST_KEPT) {
      this.#forget(this.#long)
      this.#long = sql
    }
    this.#kept.set(sql, prepared)
    prepared.isKept = true
  }

  #forget(sql: string): void {
    const prepared = this.#kept.get(sql)
    // The driver takes offence at a statement that is finalized twice.
    if (this.#kept.delete(sql)) prepared?.statement.finalize(ignore)
  }

  protected prepare(sql: string): Promise<Prepared> {
    return new Promise((resolve, reject) => {
      const statement = this.raw.prepare(sql, (error: Error | null) => {
        if (error === null && !this.#isClosed) return resolve({ statement, isKept: false, lastUse: 0 })
        if (error === null) statement.finalize(ignore)
        reject(error ?? new ConnectionError('The connection was closed.'))
      })
    })
  }
}
