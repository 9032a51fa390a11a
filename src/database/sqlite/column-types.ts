/** Gives values as their columns were declared: SQLite has no booleans, documents or dates of its own. */
import type { Row, Statement } from '../backend/dialect'
import { QueryError } from '../errors'
import type { Column, Columns } from './driver'

type Conversion = (value: unknown) => unknown

/** By what a declared type begins with. */
const CONVERSIONS: Readonly<Record<string, Conversion>> = { bool, json, date, timestamp: date }
export const CONVERTED = Object.keys(CONVERSIONS)

function bool(value: unknown): unknown {
  return value === 0 ? false : value === 1 ? true : value
}

/** A text that is no JSON was not written as such, and stays what it is. */
function json(value: unknown): unknown {
  if (typeof value !== 'string') return value
  try {
    return JSON.parse(value) as unknown
  } catch {
    return value
  }
}

/** Knex's own client stores a Date as milliseconds, and later than 1973 they are more than other programs' seconds. */
function date(value: unknown): unknown {
  return typeof value === 'number' && value >= 1e11 && value < 253_402_300_800_000
    ? textOfDate(new Date(value))
    : value
}

/** As SQLite's own date functions write it, so that the two compare. */
export function textOfDate(date: Date): string {
  return date.toISOString().replace('T', ' ').replace('Z', '')
}

export function columnOf(names: readonly string[], declared: string): Column {
  const type = declared.toLowerCase()
  const beginning = CONVERTED.find((known) => type.startsWith(known))
  return { names, declared, convert: beginning === undefined ? undefined : CONVERSIONS[beginning] }
}

/** Whether an object can hold the values of these columns, each under a name of its own. */
export function areDistinct(columns: readonly Column[]): boolean {
  const names = columns.flatMap((column) => column.names)
  return new Set(names).size === names.length && !names.includes('__proto__')
}

/** Whether a row has a value that no object holds. */
export function hasProto(columns: Columns): boolean {
  return columns?.some(({ names }) => names.includes('__proto__')) === true
}

/** Makes arrays of rows whose columns have names of their own. */
export function toArrays(rows: readonly Row[], columns: Columns): unknown[][] {
  const names = columns?.flatMap((column) => column.names) ?? []
  const areInOrder = !names.some(isWhole)
  return rows.map((row) => (areInOrder ? Object.values(row) : names.map((name) => row[name])))
}

/** JavaScript puts names that are whole numbers before all others. */
function isWhole(name: string): boolean {
  return /^\d+$/.test(name)
}

/** Makes objects of arrays; of columns that share a name the last one counts. */
export function toObjects(rows: readonly unknown[][], columns: readonly Column[]): Row[] {
  // Not by setting them: to set __proto__ is to set what an object inherits from.
  return rows.map((row) => Object.fromEntries(columns.map(({ names: [name = ''] }, at) => [name, row[at]])))
}

/** Converts arrays in place. */
export function convertArrays(rows: unknown[][], columns: Columns): unknown[][] {
  columns?.forEach(({ convert }, index) => {
    if (convert !== undefined) for (const row of rows) row[index] = convert(row[index])
  })
  return rows
}

/**
 * Converts objects in place.
 *
 * @throws QueryError when nobody can tell which column a value is of, and it matters
 */
export function convertObjects(rows: readonly Row[], columns: Columns, statement: Statement): readonly Row[] {
  const [first] = rows
  if (columns === null || first === undefined || columns.every(({ convert }) => convert === undefined))
    return rows
  const keys = Object.keys(first)
  const areInOrder = keys.length === columns.length && !keys.some(isWhole)
  const found = new Map<string, { convert: Conversion | undefined; isSure: boolean }>()
  for (const [index, column] of columns.entries()) {
    const names = areInOrder ? keys.slice(index, index + 1) : column.names
    const { convert } = column
    const isSure = names.length === 1
    for (const name of names) {
      const other = found.get(name)
      // Of columns that surely have one name, an object has the last.
      if (other !== undefined && other.convert !== convert && !(isSure && other.isSure))
        throw unclear(statement)
      found.set(name, { convert, isSure })
    }
  }
  for (const [name, { convert }] of found) {
    if (convert === undefined || !Object.hasOwn(first, name)) continue
    for (const row of rows) row[name] = convert(row[name])
  }
  return rows
}

export function unclear({ sql, facts }: Statement): QueryError {
  return new QueryError(
    `${facts.isRead ? 'The rows cannot be read' : 'The statement did not run'}: some of its columns may have the same name, ` +
      'or one that an object cannot hold, and the driver sqlite3 does not tell them apart. Name them apart with AS, or use ' +
      'the driver sqlite+appthreat://.',
    sql,
  )
}
