/** The rows of one INSERT as a single value, since binding small values takes the driver longer than inserting them. */
import type { Statement } from './dialect'

/** Integers that the driver binds as such. */
const LARGEST = 2 ** 31 - 1
/** Characters of a row's texts: SQLite reads JSON more slowly than the driver binds a text. */
const LONGEST_ROW = 64

/** The same INSERT with its rows as JSON; null where that would be slower, or not store what the driver would. */
export function packed(statement: Statement): Statement | null {
  const { into, bindings } = statement
  const width = into?.columns.length ?? 0
  if (into === undefined || bindings.length <= width) return null
  let length = 0
  for (const value of bindings) {
    if (typeof value === 'string') length += value.length
    // A number with a fraction is left to the driver: SQLite may read its digits as one that is next to it.
    else if (typeof value === 'number' ? !isPlain(value) : value !== null && typeof value !== 'boolean')
      return null
  }
  // An integer beyond numbers is bound as text, of which only its placeholder makes an integer.
  if (length * width > bindings.length * LONGEST_ROW || statement.sql.includes('CAST(')) return null
  const rows: (readonly unknown[])[] = []
  for (let at = 0; at < bindings.length; at += width) rows.push(bindings.slice(at, at + width))
  const json = JSON.stringify(rows)
  // SQLite ends a text at its first NUL, and takes half of a pair of surrogates for a character.
  if (json.includes('\\u')) return null
  const values = into.columns.map((_, index) => `json_extract(value, '$[${index}]')`)
  const sql = `INSERT INTO ${into.table} (${into.columns.join(', ')}) SELECT ${values.join(', ')} FROM json_each(?1)`
  return { ...statement, sql, bindings: [json] }
}

function isPlain(value: number): boolean {
  return Number.isInteger(value) && Math.abs(value) <= LARGEST
}
