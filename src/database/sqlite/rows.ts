/** Gives rows as the caller wants them, and values as their columns were declared: SQLite has no booleans, documents or dates. */
import type { Row, Statement } from '../driver/statement'
import { QueryError } from '../errors'
import type { Column } from './driver'

type Convert = (value: unknown) => unknown

/** By what a declared type begins with, in lower case. */
const CONVERSIONS: readonly (readonly [string, Convert])[] = [
  ['bool', toBoolean],
  ['json', toDocument],
  ['date', toDateText],
  ['timestamp', toDateText],
]

function toBoolean(value: unknown): unknown {
  return value === 0 ? false : value === 1 ? true : value
}

/** A text that is no JSON was not written as such, and stays what it is. */
function toDocument(value: unknown): unknown {
  if (typeof value !== 'string') return value
  try {
    return JSON.parse(value) as unknown
  } catch {
    return value
  }
}

/** Knex's own client stores a Date as milliseconds, and later than 1973 they are more than other programs' seconds. */
function toDateText(value: unknown): unknown {
  return typeof value === 'number' && value >= 1e11 && value < 253_402_300_800_000
    ? textOfDate(new Date(value))
    : value
}

/** As SQLite's own date functions write it, so that the two compare. */
export function textOfDate(date: Date): string {
  return date.toISOString().replace('T', ' ').replace('Z', '')
}

/** What the rows of one statement consist of. */
export class RowShape {
  readonly #columns: readonly Column[]
  readonly #converts: readonly (Convert | undefined)[]
  readonly #isConverted: boolean
  /** By name; null where two columns may have one, and differ. */
  readonly #byName: ReadonlyMap<string, Convert | undefined> | null
  readonly #hasProto: boolean
  readonly #areDistinct: boolean

  constructor(columns: readonly Column[] | null) {
    this.#columns = columns ?? []
    this.#converts = this.#columns.map(({ declared }) => {
      const type = declared.toLowerCase()
      return CONVERSIONS.find(([beginning]) => type.startsWith(beginning))?.[1]
    })
    this.#isConverted = this.#converts.some((convert) => convert !== undefined)
    this.#byName = conversionsByName(this.#columns, this.#converts)
    const names = this.#columns.flatMap((column) => column.names)
    this.#hasProto = names.includes('__proto__')
    this.#areDistinct = new Set(names).size === names.length && !this.#hasProto
  }

  /** Whether objects hold all that is wanted of a row: its values under their names, or one by one. */
  fitsObjects(asArrays: boolean): boolean {
    return asArrays ? this.#areDistinct : !this.#hasProto
  }

  /**
   * Makes rows of a driver's objects, in place where objects are wanted.
   *
   * @throws QueryError when nobody can tell which column a value is of, and it matters
   */
  fromObjects(rows: readonly Row[], statement: Statement): readonly unknown[] {
    if (statement.asArrays === true) return this.#convertArrays(rows.map((row) => this.#valuesOf(row)))
    const [first] = rows
    if (!this.#isConverted || first === undefined) return rows
    for (const [name, convert] of this.#byName ?? this.#byPosition(first, statement)) {
      if (convert === undefined || !Object.hasOwn(first, name)) continue
      for (const row of rows) row[name] = convert(row[name])
    }
    return rows
  }

  /** The same of arrays. Of columns that share a name an object has the last. */
  fromArrays(rows: unknown[][], asArrays: boolean): readonly unknown[] {
    const converted = this.#convertArrays(rows)
    if (asArrays) return converted
    // Not by setting them: to set __proto__ is to set what an object inherits from.
    return converted.map((row) =>
      Object.fromEntries(this.#columns.map(({ names: [name = ''] }, at) => [name, row[at]])),
    )
  }

  #convertArrays(rows: unknown[][]): unknown[][] {
    for (const [index, convert] of this.#converts.entries())
      if (convert !== undefined) for (const row of rows) row[index] = convert(row[index])
    return rows
  }

  /** The values in the order of their columns. */
  #valuesOf(row: Row): unknown[] {
    const keys = Object.keys(row)
    if (this.#columns.length === 0 || !keys.some(isWhole)) return Object.values(row)
    const others = keys.filter((key) => !isWhole(key)).values()
    return this.#columns.map(
      ({ names }) =>
        row[names.find((name) => isWhole(name) && Object.hasOwn(row, name)) ?? String(others.next().value)],
    )
  }

  #byPosition(row: Row, statement: Statement): Iterable<readonly [string, Convert | undefined]> {
    const keys = Object.keys(row)
    if (keys.length !== this.#columns.length || keys.some(isWhole)) throw unclear(statement)
    return keys.map((key, index) => [key, this.#converts[index]] as const)
  }
}

function conversionsByName(
  columns: readonly Column[],
  converts: readonly (Convert | undefined)[],
): ReadonlyMap<string, Convert | undefined> | null {
  const found = new Map<string, Convert | undefined>()
  const unsure = new Set<string>()
  for (const [index, { names }] of columns.entries()) {
    for (const name of names) {
      if (names.length > 1) unsure.add(name)
      if (found.has(name) && found.get(name) !== converts[index] && unsure.has(name)) return null
      found.set(name, converts[index])
    }
  }
  return found
}

/** JavaScript puts names that are whole numbers before all others. */
function isWhole(name: string): boolean {
  return /^\d+$/.test(name)
}

export function unclear({ sql, facts }: Statement): QueryError {
  return new QueryError(
    `${facts.isRead ? 'The rows cannot be read' : 'The statement did not run'}: some of its columns may have the same name, ` +
      'or one that an object cannot hold, and the driver sqlite3 does not tell them apart. Name them apart with AS, or use ' +
      'the driver sqlite+appthreat://.',
    sql,
  )
}

/** Roughly the bytes of rows. */
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
