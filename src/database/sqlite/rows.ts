/** Converts SQLite's rows to objects or arrays, and values by their declared types: SQLite has no booleans, JSON or dates. */
import type { Row, Statement } from '../driver/statement'
import { QueryError } from '../errors'
import type { Column } from './driver'

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

/** The columns of one statement's rows, and how their values are converted. */
export class RowShape {
  readonly #columns: readonly Column[]
  readonly #conversions: readonly (Convert | undefined)[]
  readonly #hasConversions: boolean
  /** By column name; null if two columns may share a name and need different conversions. */
  readonly #byName: ReadonlyMap<string, Convert | undefined> | null
  readonly #hasProto: boolean
  readonly #hasDistinctNames: boolean

  constructor(columns: readonly Column[] | null) {
    this.#columns = columns ?? []
    this.#conversions = this.#columns.map(({ declared }) => {
      const type = declared.toLowerCase()
      return CONVERSIONS.find(([beginning]) => type.startsWith(beginning))?.[1]
    })
    this.#hasConversions = this.#conversions.some((convert) => convert !== undefined)
    this.#byName = conversionsByName(this.#columns, this.#conversions)
    const names = this.#columns.flatMap((column) => column.names)
    this.#hasProto = names.includes('__proto__')
    this.#hasDistinctNames = new Set(names).size === names.length && !this.#hasProto
  }

  /** Returns whether the driver's objects lose nothing: every value by name or, for arrays, every value in order. */
  fitsObjects(asArrays: boolean): boolean {
    return asArrays ? this.#hasDistinctNames : !this.#hasProto
  }

  /**
   * Makes rows of a driver's objects, in place where objects are wanted.
   *
   * @throws QueryError when it is unknown which column a value belongs to, and the columns differ
   */
  fromObjects(rows: readonly Row[], statement: Statement): readonly unknown[] {
    if (statement.asArrays === true) return this.#convertArrays(rows.map((row) => this.#valuesOf(row)))
    const [first] = rows
    if (!this.#hasConversions || first === undefined) return rows
    for (const [name, convert] of this.#byName ?? this.#byPosition(first, statement)) {
      if (convert === undefined || !Object.hasOwn(first, name)) continue
      for (const row of rows) row[name] = convert(row[name])
    }
    return rows
  }

  /** Makes rows of a driver's arrays. Of columns that share a name an object has the last. */
  fromArrays(rows: unknown[][], asArrays: boolean): readonly unknown[] {
    const converted = this.#convertArrays(rows)
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

  /** Returns the values of an object in the order of the columns. */
  #valuesOf(row: Row): unknown[] {
    const keys = Object.keys(row)
    if (this.#columns.length === 0 || !keys.some(isIntegerKey)) return Object.values(row)
    const others = keys.filter((key) => !isIntegerKey(key)).values()
    return this.#columns.map(
      ({ names }) =>
        row[
          names.find((name) => isIntegerKey(name) && Object.hasOwn(row, name)) ?? String(others.next().value)
        ],
    )
  }

  #byPosition(row: Row, statement: Statement): Iterable<readonly [string, Convert | undefined]> {
    const keys = Object.keys(row)
    if (keys.length !== this.#columns.length || keys.some(isIntegerKey)) throw ambiguousColumns(statement)
    return keys.map((key, index) => [key, this.#conversions[index]] as const)
  }
}

function conversionsByName(
  columns: readonly Column[],
  conversions: readonly (Convert | undefined)[],
): ReadonlyMap<string, Convert | undefined> | null {
  const found = new Map<string, Convert | undefined>()
  const unsure = new Set<string>()
  for (const [index, { names }] of columns.entries()) {
    for (const name of names) {
      if (names.length > 1) unsure.add(name)
      if (found.has(name) && found.get(name) !== conversions[index] && unsure.has(name)) return null
      found.set(name, conversions[index])
    }
  }
  return found
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
