/** One INSERT of many rows, made of an INSERT of one. */
import type { Dialect } from '../driver/dialect'
import type { InsertTarget } from '../driver/statement'
import type { ParsedSql } from '../driver/parsed-sql'

/** `INSERT … VALUES (` names `) …`, taken apart. */
export interface BulkInsert {
  readonly head: string
  /** Of the tuple, in order; one may occur twice. */
  readonly names: readonly string[]
  readonly tail: string
  /** Where the tuple goes, if that is all that the statement says. */
  readonly insertsInto: InsertTarget | undefined
}

/** Rows in one INSERT: more gain nothing. */
const MAX_ROWS = 500
/** SQLite takes 32 766 values in one statement, PostgreSQL 65 535. */
const MAX_BINDINGS = 30_000

/** How many rows of so many values go into one INSERT. */
export function rowsPerInsert(valuesPerRow: number): number {
  return Math.max(1, Math.min(MAX_ROWS, Math.floor(MAX_BINDINGS / valuesPerRow)))
}

const BULK_TAIL = /^\s*\)\s*(?:on\s+conflict\b[^]*\bdo\s+nothing\s*)?;?\s*$/i

/** Null when the statement is no INSERT of one tuple that holds placeholders and nothing else. */
export function bulkInsertOf({ verb, segments, hasReturning }: ParsedSql): BulkInsert | null {
  if (verb !== 'INSERT' || hasReturning || segments.length < 3) return null
  const texts = segments.flatMap((segment) => ('text' in segment ? segment.text : []))
  const names = segments.flatMap((segment) => ('name' in segment ? segment.name : []))
  const [head = '', ...rest] = texts
  const tail = rest.at(-1) ?? ''
  const isTuple = rest.slice(0, -1).every((text) => /^\s*,\s*$/.test(text))
  // VALUES must be the INSERT's own, and nothing may follow that looks at more than its one row: PostgreSQL, for one,
  // updates no row twice in one statement, and two sets of values may have one key.
  if (/\b(?:select|with)\b/i.test(head) || !BULK_TAIL.test(tail)) return null
  if (!isTuple || !/\bvalues\s*\(\s*$/i.test(head)) return null
  return { head, names, tail, insertsInto: insertTargetOf(head, names.length, tail) }
}

/** Writes the INSERT of so many tuples. What it wrote last is mostly what it is asked for next. */
export function tupleWriter(
  { head, names, tail }: BulkInsert,
  { placeholder }: Pick<Dialect, 'placeholder'>,
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

function insertTargetOf(head: string, width: number, tail: string): InsertTarget | undefined {
  const [, table, list] = PLAIN_HEAD.exec(head) ?? []
  if (table === undefined || list === undefined || !PLAIN_TAIL.test(tail)) return undefined
  const columns = list.match(new RegExp(NAME, 'gi')) ?? []
  return columns.length === width ? { table, columns } : undefined
}
