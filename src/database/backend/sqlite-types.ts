/** Makes of SQLite's few storage classes what its columns were declared to be. */
import type { Row } from './dialect'
import { trimmed } from './sql-pieces'
import { SQLITE_LEXICON } from './sqlite-lexicon'

export interface Column {
  readonly name: string
  /** As in CREATE TABLE; an empty text for an expression. */
  readonly declared: string
}

const LARGEST = Number.MAX_SAFE_INTEGER

/** The conversion for a declared type, if it needs one. */
function conversion(declared: string): ((value: unknown) => unknown) | null {
  if (/^bool/i.test(declared)) return (value) => (value === 0 ? false : value === 1 ? true : value)
  if (/^json/i.test(declared)) return parsed
  return null
}

/** A text that is no JSON was not written as such, and stays what it is. */
function parsed(value: unknown): unknown {
  if (typeof value !== 'string') return value
  try {
    return JSON.parse(value) as unknown
  } catch {
    return value
  }
}

/** Converts rows in place. Rows may have fewer columns than are known. */
export function convert(rows: readonly unknown[], columns: readonly Column[]): void {
  columns.forEach(({ name, declared }, index) => {
    const to = conversion(declared)
    if (to === null) return
    for (const row of rows as (Row | unknown[])[]) {
      if (Array.isArray(row)) row[index] = to(row[index])
      else if (Object.hasOwn(row, name)) row[name] = to(row[name])
    }
  })
}

/** What a row of the driver has: of columns that have one name, the last one. */
export function lastOfEachName(columns: readonly Column[]): readonly Column[] {
  const names = new Set(columns.map(({ name }) => name))
  const last = new Map<string, Column>()
  for (const column of columns) {
    const base = column.name.replace(/:\d+$/, '')
    const name = names.has(base) ? base : column.name
    last.set(name, { ...column, name })
  }
  return [...last.values()]
}

/** Makes one of columns that have one name, as the driver does: the last one counts. */
export function collapse(rows: readonly Row[], columns: readonly Column[]): void {
  for (const { name } of columns) {
    const base = name.replace(/:\d+$/, '')
    if (base === name || !columns.some((column) => column.name === base)) continue
    for (const row of rows) {
      row[base] = row[name]
      Reflect.deleteProperty(row, name)
    }
  }
}

/** Makes rows of a cursor what their columns were declared to be. */
export function asDeclared(rows: readonly Row[], columns: readonly Column[]): readonly Row[] {
  convert(rows, columns)
  collapse(rows, columns)
  return rows
}

/** True when the driver has rounded an integer, or may have: a real number of that size looks the same. */
export function hasLostDigits(rows: readonly unknown[]): boolean {
  return rows.some((row) => Object.values(row as object).some(isRounded))
}

/** The columns declared as integers of which that is certain. Rows of a RETURNING cannot be asked for again. */
export function roundedColumns(rows: readonly unknown[], columns: readonly Column[]): readonly string[] {
  const integers = columns.filter(({ declared }) => /int/i.test(declared)).map(({ name }) => name)
  return integers.filter((name) => (rows as Row[]).some((row) => isRounded(row[name])))
}

function isRounded(value: unknown): boolean {
  return (
    typeof value === 'number' &&
    !Number.isSafeInteger(value) &&
    Math.abs(value) > LARGEST &&
    Math.abs(value) <= 2 ** 63
  )
}

/** Whether an integer has more digits than a number. */
export function isLarge(column: string): string {
  return `(${column} NOT BETWEEN -${LARGEST} AND ${LARGEST})`
}

/** The value of a column, as text where a number would lose digits. */
export function exactly(column: string): string {
  return `CASE WHEN typeof(${column}) = 'integer' AND ${isLarge(column)} THEN CAST(${column} AS TEXT) ELSE ${column} END`
}

/** The same query with integers as text where a number would lose digits. */
export function withExactIntegers(sql: string, columns: readonly Column[]): string {
  const exact = columns.map(({ name }, index) => `${exactly(`c${index}`)} AS "${name.replaceAll('"', '""')}"`)
  return `${named(sql, columns)} SELECT ${exact.join(', ')} FROM ${ROWS}`
}

/** Whether a row as an object has all of these columns, in their order. */
export function areDistinct(columns: readonly Column[]): boolean {
  const names = columns.map(({ name }) => name)
  return new Set(names).size === names.length && names.every((name) => !/:\d+$|^\d+$/.test(name))
}

/** The query with columns whose names are in order and occur once, so that a row as an object loses none of them. */
export function withDistinctColumns(sql: string, columns: readonly Column[]): string {
  return areDistinct(columns) ? sql : `${named(sql, columns)} SELECT * FROM ${ROWS}`
}

/** The name has a space, so that it is no table's. */
const ROWS = '"millpond rows"'

function named(sql: string, columns: readonly Column[]): string {
  const names = columns.map((_, index) => `c${index}`)
  return `WITH ${ROWS}(${names.join(', ')}) AS (${trimmed(sql, SQLITE_LEXICON, false)}\n)`
}
