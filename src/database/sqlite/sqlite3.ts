/** The driver `sqlite3`: it binds 32-bit integers, rounds those beyond 2^53, fetches row by row, and does not name columns. */
import sqlite3 from 'sqlite3'
import { messageOf } from '../driver/driver-error'
import { BufferedCursor, type Cursor, type Row, type Statement } from '../driver/statement'
import { firstStatement, replacePlaceholders, returningAsQuery } from '../sql/rewrite'
import { CallbackConnection, openRaw, type RowsCallback, type Start } from './callback-connection'
import type { Column, SqliteDriver } from './driver'
import { findCompound, isQuery, ownStatement, SQLITE_LEXICON } from './statements'

export const driver: SqliteDriver = {
  name: 'sqlite3',
  open: async (file, flags) => new Sqlite3Connection(await openRaw(sqlite3, file, flags)),
}

/**
 * How long a stream may take to read all rows at once before it falls back to single steps, which are 5 times slower. The
 * driver's `each` is not used because it sometimes loses the last rows (TryGhost/node-sqlite3#274).
 */
const READ_AHEAD_MILLIS = 20
/** The same limit for a caller that keeps all rows in memory anyway. */
const READ_ALL_MILLIS = 200

class Sqlite3Connection extends CallbackConnection {
  readonly roundsIntegers = true
  readonly arrays = null
  protected readonly maxBatch = 64

  /** Makes a temporary view, whose columns SQLite lists without running it. A RETURNING clause becomes a query on its table. */
  async columns(statement: Statement): Promise<readonly Column[] | null> {
    const { sql } = statement
    const query = isQuery(statement)
      ? firstStatement(sql, SQLITE_LEXICON, true)
      : returningAsQuery(sql, SQLITE_LEXICON)
    if (query === null) return null
    // Only the first part of a compound SELECT: SQLite takes names and types from it, but a view of all has other types.
    const first = query.slice(0, findCompound(query))
    // The comment keeps names of different parameters apart.
    const select = replacePlaceholders(first, SQLITE_LEXICON, (placeholder) => `(/*${placeholder}*/NULL)`)
    const [{ query_only: isReadOnly } = {}] = await this.all(ownStatement('PRAGMA query_only'))
    if (isReadOnly === 1) await this.#exec('PRAGMA query_only = OFF')
    try {
      // An interrupt may have left a view.
      await this.#exec(
        `DROP VIEW IF EXISTS temp.millpond_columns; CREATE TEMP VIEW millpond_columns AS ${select}`,
      )
      return (await this.all(ownStatement('PRAGMA temp.table_info(millpond_columns)'))).map(toColumn)
    } catch (error) {
      // The statement cannot be a view, as with PRAGMA. Any other error says nothing about it.
      if (messageOf(error).startsWith('SQLITE_ERROR')) return null
      throw error
    } finally {
      try {
        // A broken view would make every change of the schema fail.
        await this.#exec('DROP VIEW IF EXISTS temp.millpond_columns')
      } finally {
        if (isReadOnly === 1) await this.#exec('PRAGMA query_only = ON')
      }
    }
  }

  #exec(sql: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.raw.exec(sql, (error) => {
        if (error === null) resolve()
        else reject(error)
      })
    })
  }

  protected override withPrepared<T>(statement: Statement, start: Start<T>): Promise<T> {
    const bound = toBindable(statement)
    const result = super.withPrepared(bound, start)
    return bound === statement ? result : result.then(withWrittenNames)
  }

  override async openCursor(statement: Statement, keepsAllRows: boolean): Promise<Cursor> {
    // Repeated, because SQLite ignores an interrupt that comes before the first step.
    const timer = setInterval(
      () => {
        this.interrupt()
      },
      keepsAllRows ? READ_ALL_MILLIS : READ_AHEAD_MILLIS,
    )
    // An error is to come after the rows before it, which the single steps below see to.
    const rows = await this.all(statement).catch(() => null)
    clearInterval(timer)
    return rows === null ? super.openCursor(toBindable(statement), keepsAllRows) : new BufferedCursor(rows)
  }

  protected nextRows(
    prepared: sqlite3.Statement,
    count: number,
    bindings: readonly unknown[] | undefined,
    done: RowsCallback,
  ): void {
    const rows: Row[] = []
    const onRow = (error: Error | null, row?: Row): void => {
      if (row !== undefined) rows.push(row)
      // Does not step again after the last row, which would restart the statement.
      if (error !== null || row === undefined || rows.length === count)
        done(error, withWrittenNames(rows), row === undefined)
      else prepared.get(onRow)
    }
    prepared.get(bindings ?? [], onRow)
  }
}

/**
 * Binds integers beyond 32 bits as texts that SQLite casts. The plus removes the affinity of the cast, since a bound value
 * has none; the comment inside tells it from a cast that the caller wrote.
 */
function toBindable(statement: Statement): Statement {
  const { bindings } = statement
  if (!hasLargeInteger(bindings)) return statement
  const sql = replacePlaceholders(statement.sql, SQLITE_LEXICON, (placeholder, index) =>
    exceeds32Bits(bindings[index]) ? `+CAST(${placeholder} AS/**/INTEGER)` : placeholder,
  )
  return {
    ...statement,
    sql,
    bindings: bindings.map((one) => (exceeds32Bits(one) ? String(BigInt(one)) : one)),
  }
}

function hasLargeInteger(bindings: readonly unknown[]): boolean {
  for (const value of bindings) if (exceeds32Bits(value)) return true
  return false
}

const BOUND_AS_TEXT = /\+CAST\((\?\d*) AS\/\*\*\/INTEGER\)/g

/** Renames columns that SQLite has named by their expression, so that they have the text that the caller wrote. */
function withWrittenNames<T>(result: T): T {
  if (!Array.isArray(result) || !Object.keys(result[0] ?? {}).some((key) => key.includes('/**/')))
    return result
  const written = ([key, value]: [string, unknown]): [string, unknown] => [
    key.replaceAll(BOUND_AS_TEXT, '$1'),
    value,
  ]
  return result.map((row: Row) => Object.fromEntries(Object.entries(row).map(written))) as T
}

function exceeds32Bits(value: unknown): value is number | bigint {
  if (typeof value !== 'number') return typeof value === 'bigint'
  return value !== (value | 0) && Number.isInteger(value) && value >= -(2 ** 63) && value < 2 ** 63
}

function toColumn(row: Row): Column {
  const name = String(row['name'])
  // SQLite lists the second column of the same name as `name:1`, which may also be its real name.
  const base = name.replace(/:\d+$/, '')
  return { names: base === name ? [name] : [name, base], declared: String(row['type']) }
}
