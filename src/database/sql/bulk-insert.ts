/** Turns an INSERT of one row into an INSERT of many rows. */
import type { InsertTarget, ParsedSql } from '../driver/statement'

/** The parts of `INSERT … VALUES (:names) …`. */
export interface BulkInsert {
  readonly head: string
  /** The placeholders of the tuple, in order; a name may occur twice. */
  readonly names: readonly string[]
  readonly tail: string
  /** Where the tuple goes, if the statement does nothing else. */
  readonly insertsInto: InsertTarget | undefined
}

/** The most rows in one INSERT: more gain nothing. */
const MAX_ROWS = 500
/** SQLite takes 32 766 values in one statement, PostgreSQL 65 535. */
const MAX_BINDINGS = 30_000

/** Returns how many rows of `valuesPerRow` values go into one INSERT. */
export function rowsPerInsert(valuesPerRow: number): number {
  return Math.max(1, Math.min(MAX_ROWS, Math.floor(MAX_BINDINGS / valuesPerRow)))
}

/** What may follow the tuple: nothing, or ON CONFLICT … DO NOTHING. */
const BULK_TAIL = /^\s*\)\s*(?:on\s+conflict\b[^]*\bdo\s+nothing\s*)?;?\s*$/i

/** Takes an INSERT of one tuple apart. Null for other statements, and for a tuple of more than placeholders. */
export function bulkInsertOf({ verb, segments, hasReturning }: ParsedSql): BulkInsert | null {
  if (verb !== 'INSERT' || hasReturning || segments.length < 3) return null
  const texts = segments.flatMap((segment) => ('text' in segment ? segment.text : []))
  const names = segments.flatMap((segment) => ('name' in segment ? segment.name : []))
  const [head = '', ...rest] = texts
  const tail = rest.at(-1) ?? ''
  const isTuple = rest.slice(0, -1).every((text) => /^\s*,\s*$/.test(text))
  // VALUES must belong to the INSERT itself. After it, ON CONFLICT DO UPDATE is refused: PostgreSQL updates no row twice
  // in one statement, and two sets of values may have the same key.
  if (/\b(?:select|with)\b/i.test(head) || !BULK_TAIL.test(tail)) return null
  if (!isTuple || !/\bvalues\s*\(\s*$/i.test(head)) return null
  return { head, names, tail, insertsInto: insertTargetOf(head, names.length, tail) }
}

/** Returns a function that writes the INSERT of so many rows. It keeps the last text, which most calls want again. */
export function tupleWriter(
  { head, names, tail }: BulkInsert,
  placeholder: (n: number) => string,
): (rows: number) => string {
  const write = (rows: number): string => {
    let count = 0
    const tuple = (): string => names.map(() => placeholder((count += 1))).join(', ')
    return head + Array.from({ length: rows }, tuple).join('), (') + tail
  }
  let last = { rows: 0, text: '' }
  return (rows) => {
    if (rows !== last.rows) last = { rows, text: write(rows) }
    return last.text
  }
}

const NAME = '(?:"(?:[^"]|"")+"|[a-z_][a-z0-9_]*)'
const PLAIN_HEAD = new RegExp(
  `^\\s*insert\\s+into\\s+(${NAME}(?:\\.${NAME})?)\\s*\\(\\s*(${NAME}(?:\\s*,\\s*${NAME})*)\\s*\\)\\s*values\\s*\\(\\s*$`,
  'i',
)
const PLAIN_TAIL = /^\s*\)\s*;?\s*$/

/** Returns table and columns of a plain INSERT of `width` columns; undefined for one that says more. */
function insertTargetOf(head: string, width: number, tail: string): InsertTarget | undefined {
  const [, table, list] = PLAIN_HEAD.exec(head) ?? []
  if (table === undefined || list === undefined || !PLAIN_TAIL.test(tail)) return undefined
  const columns = list.match(new RegExp(NAME, 'gi')) ?? []
  return columns.length === width ? { table, columns } : undefined
}
