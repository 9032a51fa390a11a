/** The driver `sqlite3`: it binds integers of 32 bits, rounds those beyond 2^53, steps row by row, and tells no columns. */
import sqlite3 from 'sqlite3'
import type { Row, Statement } from '../driver/statement'
import { messageOf } from '../driver/driver-error'
import { blankNested, replacePlaceholders, returningAsQuery, firstStatement } from '../sql/rewrite'
import { QueryError } from '../errors'
import { CallbackConnection, openRaw, type SettleRows } from './callback-connection'
import { type Column, isQuery, own, type SqliteDriver, type Steps } from './driver'
import { SQLITE_LEXICON } from './lexicon'

export const driver: SqliteDriver = {
  name: 'sqlite3',
  open: async (file, flags) => new Sqlite3Connection(await openRaw(sqlite3, file, flags)),
}

/**
 * How long a stream may take to read all rows at once before it takes single steps, which are 5 times slower. The driver's
 * `each` is of no use: now and then it loses the last rows (TryGhost/node-sqlite3#274).
 */
const AHEAD_MILLIS = 20
/** The same where all rows are to be in memory anyway. */
const HELD_MILLIS = 200

class Sqlite3Connection extends CallbackConnection {
  readonly arrays = null
  protected readonly longestPiece = 64

  /** Asks by a temporary view, whose columns SQLite tells without running it. A RETURNING is made a query of its table. */
  async columns(statement: Statement): Promise<readonly Column[] | null> {
    const { sql } = statement
    const query = isQuery(statement)
      ? firstStatement(sql, SQLITE_LEXICON, true)
      : returningAsQuery(sql, SQLITE_LEXICON)
    if (query === null) return null
    // As SQLite takes them from the first part of a compound SELECT; a view has types of its own.
    const first = query.slice(0, findCompound(query))
    // The comment keeps names of different parameters apart.
    const select = replacePlaceholders(first, SQLITE_LEXICON, (placeholder) => `(/*${placeholder}*/NULL)`)
    const [{ query_only: isReadOnly } = {}] = await this.all(own('PRAGMA query_only'))
    if (isReadOnly === 1) await this.#exec('PRAGMA query_only = OFF')
    try {
      // One may be left where an interrupt came in its way.
      await this.#exec(
        `DROP VIEW IF EXISTS temp.millpond_columns; CREATE TEMP VIEW millpond_columns AS ${select}`,
      )
      return (await this.all(own('PRAGMA temp.table_info(millpond_columns)'))).map(toColumn)
    } catch (error) {
      // What cannot be a view, such as PRAGMA. Any other error says nothing about the statement.
      if (messageOf(error).startsWith('SQLITE_ERROR')) return null
      throw error
    } finally {
      try {
        // A broken view would be in the way of every change of the schema.
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

  override async step(statement: Statement, isHeld: boolean): Promise<Steps> {
    // Again and again: an interrupt that comes before the first step is forgotten.
    const timer = setInterval(
      () => {
        this.interrupt()
      },
      isHeld ? HELD_MILLIS : AHEAD_MILLIS,
    )
    // What fails is to fail when it is its turn, after the rows before it.
    const rows = await this.all(statement).catch(() => null)
    clearInterval(timer)
    if (rows === null) return super.step(statement, isHeld)
    return {
      get isAtEnd() {
        return rows.length === 0
      },
      read: (count) => Promise.resolve(rows.splice(0, count ?? rows.length)),
      close: () => Promise.resolve(),
    }
  }

  protected next(
    prepared: sqlite3.Statement,
    count: number,
    bindings: readonly unknown[] | undefined,
    settle: SettleRows,
  ): void {
    const rows: Row[] = []
    const take = (error: Error | null, row?: Row): void => {
      if (row !== undefined) rows.push(row)
      // Never once more after the last row: the statement would begin again.
      if (error !== null || row === undefined || rows.length === count) settle(error, rows, row === undefined)
      else prepared.get(take)
    }
    prepared.get(bindings ?? [], take)
  }

  /**
   * Binds integers beyond 32 bits as texts that SQLite casts. The plus takes away the cast's affinity, as a value has none; the
   * comment tells it from a cast of the user's.
   */
  protected bindable(statement: Statement): Statement {
    const { bindings } = statement
    if (!bindings.some(isLarge)) return statement
    const sql = replacePlaceholders(statement.sql, SQLITE_LEXICON, (placeholder, index) =>
      isLarge(bindings[index]) ? `+CAST(${placeholder} AS/**/INTEGER)` : placeholder,
    )
    return { ...statement, sql, bindings: bindings.map((one) => (isLarge(one) ? String(BigInt(one)) : one)) }
  }

  /** A number beyond 2^53 may have been another integer, unless its column stores real numbers. */
  protected exact(found: Row[], statement: Statement): Row[] | Promise<Row[]> {
    const rows = statement.sql.includes(' AS/**/INTEGER)') ? found.map(withOwnNames) : found
    const keys = Object.keys(rows[0] ?? {}).filter((key) => rows.some((row) => mayBeRounded(row[key])))
    return keys.length === 0 ? rows : this.#refuseRounded(rows, keys, statement)
  }

  async #refuseRounded(rows: Row[], keys: readonly string[], statement: Statement): Promise<Row[]> {
    const { sql, facts } = statement
    // A compound SELECT has the types of its first part only.
    const columns = (findCompound(sql) === undefined ? await this.columns(statement) : null) ?? []
    const rounded = keys.find(
      (key) => !columns.some((one) => one.names.includes(key) && REAL.test(one.declared)),
    )
    if (rounded === undefined) return rows
    const [what, how] = facts.isRead
      ? ['Column', '']
      : ['The statement has run, but its column', 'RETURNING ']
    throw new QueryError(
      `${what} ${rounded} holds an integer beyond 2^53, or a real number of that size, and the driver sqlite3 rounds ` +
        `integers. Write ${how}CAST(${rounded} AS TEXT), or use the driver that gives all digits: sqlite+appthreat://.`,
      sql,
    )
  }
}

/** Where the second part of a compound SELECT begins, if it is one. */
function findCompound(sql: string): number | undefined {
  return /\b(?:union|except|intersect)\b/i.exec(blankNested(sql, SQLITE_LEXICON))?.index
}

/** SQLite names a column by the text of its expression, which is here as its user wrote it. */
function withOwnNames(row: Row): Row {
  const name = (key: string): string => key.replaceAll(/\+CAST\((\?\d*) AS\/\*\*\/INTEGER\)/g, '$1')
  return Object.fromEntries(Object.entries(row).map(([key, value]) => [name(key), value]))
}

/** Declared as real by SQLite's rules: https://www.sqlite.org/datatype3.html, section 3.1 */
const REAL = /^(?!.*(?:int|char|clob|text|blob)).*(?:real|floa|doub)/i

function mayBeRounded(value: unknown): boolean {
  if (typeof value !== 'number' || Number.isSafeInteger(value)) return false
  return Math.abs(value) > Number.MAX_SAFE_INTEGER && Math.abs(value) <= 2 ** 63
}

function isLarge(value: unknown): value is number | bigint {
  if (typeof value !== 'number') return typeof value === 'bigint'
  return value !== (value | 0) && Number.isInteger(value) && value >= -(2 ** 63) && value < 2 ** 63
}

function toColumn(row: Row): Column {
  const name = String(row['name'])
  // Of columns with one name the second is told as `name:1`, which may also be a name of its own.
  const base = name.replace(/:\d+$/, '')
  return { names: base === name ? [name] : [name, base], declared: String(row['type']) }
}
