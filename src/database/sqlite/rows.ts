/** Converts SQLite's rows to objects or arrays, and values by their declared types: SQLite has no booleans, JSON or dates. */
import type { Row, Statement } from '../driver/statement'
import { QueryError } from '../errors'
import type { Column } from './driver'
import { findCompound } from './statements'

type Convert = (value: unknown) => unknown

/** Conversions by the beginning of the declared type, in lower case. */
const CONVERSIONS: readonly (readonly [string, Convert])[] = [
  ['bool', toBoolean],
  ['json', toDocument],
  ['date', toDateText],
  ['timestamp', toDateText],
]

function toBoolean(value: unknown): unknown {
  return value === 0 ? false : value === 1 ? true : value
}

/** Parses JSON, and returns other text unchanged. */
function toDocument(value: unknown): unknown {
  if (typeof value !== 'string') return value
  try {
    return JSON.parse(value) as unknown
  } catch {
    return value
  }
}

/** Converts milliseconds, as which Knex's own client stores a Date: from 1973 on they are larger than seconds of our time. */
function toDateText(value: unknown): unknown {
  return typeof value === 'number' && value >= 1e11 && value < 253_402_300_800_000
    ? textOfDate(new Date(value))
    : value
}

/** Writes a Date in the format of SQLite's date functions, so that the two can be compared. */
export function textOfDate(date: Date): string {
  return date.toISOString().replace('T', ' ').replace('Z', '')
}

/** What is known of a statement before it runs: its columns, and how their values are converted. */
export class StatementInfo {
  readonly #columns: readonly Column[]
  readonly #conversions: readonly (Convert | undefined)[]
  readonly #hasConversions: boolean
  readonly #hasProto: boolean
  readonly #hasDistinctNames: boolean
  readonly #roundsIntegers: boolean
  /** The query with LIMIT 1; null where that cannot be appended as a line. */
  readonly firstRow: string | null
  /** True if the INSERT sets the last rowid; else SQLite reports that of an earlier INSERT. */
  readonly setsRowid: boolean

  constructor(
    columns: readonly Column[] | null,
    { roundsIntegers = false, firstRow = null as string | null, setsRowid = false } = {},
  ) {
    this.#columns = columns ?? []
    this.#conversions = this.#columns.map(({ declared }) => {
      const type = declared.toLowerCase()
      return CONVERSIONS.find(([beginning]) => type.startsWith(beginning))?.[1]
    })
    this.#hasConversions = this.#conversions.some((convert) => convert !== undefined)
    const names = this.#columns.flatMap((column) => column.names)
    this.#hasProto = names.includes('__proto__')
    this.#hasDistinctNames = new Set(names).size === names.length && !this.#hasProto
    this.#roundsIntegers = roundsIntegers
    this.firstRow = firstRow
    this.setsRowid = setsRowid
  }

  /** Returns whether the driver's objects lose nothing: every value by name or, for arrays, every value in order. */
  fitsObjects(asArrays: boolean): boolean {
    return asArrays ? this.#hasDistinctNames : !this.#hasProto
  }

  /**
   * Makes the rows that the caller wants of the driver's, which are objects where those fit.
   *
   * @throws QueryError for an integer that the driver may have rounded, and when it is unknown which column a value belongs to
   */
  rowsOf(found: readonly unknown[], statement: Statement): readonly unknown[] {
    const { asArrays = false } = statement
    if (!this.fitsObjects(asArrays)) return this.#fromArrays(found as readonly unknown[][], asArrays)
    const rows = found as readonly Row[]
    const [first] = rows
    if (first === undefined) return rows
    this.#makeExact(rows, Object.keys(first), statement)
    if (!asArrays && !this.#hasConversions) return rows
    const keys = this.#keysOf(first, statement)
    if (asArrays) return this.#convertArrays(rows.map((row) => keys.map((key) => row[key])))
    // Of columns that share a name an object has the last.
    for (const [key, convert] of new Map(keys.map((key, at) => [key, this.#conversions[at]])))
      if (convert !== undefined) for (const row of rows) row[key] = convert(row[key])
    return rows
  }

  #fromArrays(rows: readonly unknown[][], asArrays: boolean): readonly unknown[] {
    const converted = this.#convertArrays(rows.map((row) => row.map(toExact)))
    if (asArrays) return converted
    // Not by assignment: assigning __proto__ would change the object's prototype.
    return converted.map((row) =>
      Object.fromEntries(this.#columns.map(({ names: [name = ''] }, at) => [name, row[at]])),
    )
  }

  #convertArrays(rows: unknown[][]): unknown[][] {
    for (const [index, convert] of this.#conversions.entries())
      if (convert !== undefined) for (const row of rows) row[index] = convert(row[index])
    return rows
  }

  /** Returns the key of each column in an object. SQLite may call an expression otherwise than the driver tells. */
  #keysOf(row: Row, statement: Statement): readonly string[] {
    const columns = this.#columns
    const keys = Object.keys(row)
    if (columns.length === 0 || (columns.length === keys.length && !keys.some(isIntegerKey))) return keys
    const told = new Set(columns.flatMap(({ names }) => names))
    const others = keys.filter((key) => !told.has(key)).values()
    return columns.map(({ names }) => {
      const found = names.filter((name) => Object.hasOwn(row, name))
      if (found.length > 1 && keys.length < columns.length) throw ambiguousColumns(statement)
      return found[0] ?? String(others.next().value)
    })
  }

  /** Makes integers beyond 2^53 texts, or refuses them where the driver has rounded them. */
  #makeExact(rows: readonly Row[], keys: readonly string[], statement: Statement): void {
    const roundsIntegers = this.#roundsIntegers
    // Not by for-in: V8 keeps recompiling that once it has met rows of several shapes.
    for (const key of keys) {
      for (const row of rows) {
        const value = row[key]
        if (typeof value === 'bigint') row[key] = String(value)
        else if (roundsIntegers && typeof value === 'number' && mayBeRounded(value))
          this.#refuseRounded(key, statement)
      }
    }
  }

  /** @throws QueryError unless the column is declared as real, which for a compound SELECT is true of its first part only */
  #refuseRounded(key: string, { sql, facts }: Statement): void {
    const isReal = this.#columns.some(
      ({ names, declared }) => names.includes(key) && REAL_AFFINITY.test(declared),
    )
    if (isReal && findCompound(sql) === undefined) return
    const [what, how] = facts.isRead
      ? ['Column', '']
      : ['The statement has run, but its column', 'RETURNING ']
    throw new QueryError(
      `${what} ${key} holds an integer beyond 2^53, or a real number of that size, and the driver sqlite3 rounds ` +
        `integers. Write ${how}CAST(${key} AS TEXT), or use the driver that gives all digits: sqlite+appthreat://.`,
      sql,
    )
  }
}

/** Types with REAL affinity: https://www.sqlite.org/datatype3.html, section 3.1 */
const REAL_AFFINITY = /^(?!.*(?:int|char|clob|text|blob)).*(?:real|floa|doub)/i

function mayBeRounded(value: number): boolean {
  const size = Math.abs(value)
  return size > Number.MAX_SAFE_INTEGER && size <= 2 ** 63
}

function toExact(value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value
}

/** Returns whether JavaScript puts this name before others: it does so for whole numbers. */
function isIntegerKey(name: string): boolean {
  return /^\d+$/.test(name)
}

export function ambiguousColumns({ sql, facts }: Statement): QueryError {
  return new QueryError(
    `${facts.isRead ? 'The rows cannot be read' : 'The statement did not run'}: some of its columns may have the same name, ` +
      'or one that an object cannot hold, and the driver sqlite3 does not tell them apart. Name them apart with AS, or use ' +
      'the driver sqlite+appthreat://.',
    sql,
  )
}

/** Returns the approximate size of rows in bytes. */
export function sizeOf(rows: readonly Row[]): number {
  let size = 0
  for (const key of Object.keys(rows[0] ?? {})) {
    for (const row of rows) {
      const value = row[key]
      if (typeof value === 'string') size += value.length
      else size += ArrayBuffer.isView(value) ? value.byteLength : 8
    }
  }
  return size
}
