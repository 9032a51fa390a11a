/** Rows of PostgreSQL's texts, made faster than pg makes them. */
import pg from 'pg'
import type { Result, Row } from '../driver/statement'
import type { Session } from '../driver/session'
import { isStringTooLong } from '../driver/driver-error'
import type { SessionTypes } from './array-types'
import { AS_IT_IS, type Parser, typeName, UnreadableError } from './value-parsers'

/** Makes a value of its bytes. */
type Reader = (bytes: Buffer, from: number, to: number) => unknown

/** The columns of a result, ready to make rows of. */
export interface Columns {
  readonly fields: readonly pg.FieldDef[]
  /** Null where the text is the value. */
  readonly parsers: readonly (Parser | null)[]
  /** The same for bytes. */
  readonly readers: readonly Reader[]
  /** A row without values: to copy it is faster than to make one column by column. */
  readonly blank: Row
  /** Some of its texts can only be read when their types have been looked up. */
  readonly isIncomplete: boolean
}

/** Commands whose tag counts rows that they changed; that of SELECT counts rows that it read. */
const CHANGES = new Set(['INSERT', 'UPDATE', 'DELETE', 'MERGE'])

/** What became of a prepared statement. */
export class PreparedResult implements Result {
  readonly rows: readonly unknown[]
  readonly command: string
  readonly rowCount: number
  readonly lastInsertId = null
  /** Of the transaction that it ran in, where that was asked for. */
  readonly transactionId: string | null
  readonly columns: Columns
  readonly #tag: string

  constructor(tag: string, rows: readonly unknown[], columns: Columns, transactionId: string | null) {
    const space = tag.indexOf(' ')
    this.#tag = tag
    this.rows = rows
    this.command = space < 0 ? tag : tag.slice(0, space)
    this.rowCount = CHANGES.has(this.command) ? countOf(tag) : 0
    this.transactionId = transactionId
    this.columns = columns
  }

  /** As pg has it. */
  get forKnex() {
    const { command, rows } = this
    const rowCount = this.#tag === '' ? rows.length : countOf(this.#tag)
    return { response: { command, rowCount, rows, fields: this.columns.fields, oid: null } }
  }
}

/** The number at the end of a command's tag, such as `INSERT 0 3`. */
function countOf(tag: string): number {
  return Number(tag.slice(tag.lastIndexOf(' ') + 1))
}

export const NO_COLUMNS: Columns = { fields: [], parsers: [], readers: [], blank: {}, isIncomplete: false }

/** What pg has for whole numbers, unless somebody has set another one. */
const AS_INTEGER = pg.types.getTypeParser(pg.types.builtins.INT4, 'text') as Parser
const isPlainInteger = ['0', '-7', '2147483647'].every((text) => AS_INTEGER(text) === Number(text))

export function toColumns(types: SessionTypes, fields: readonly pg.FieldDef[]): Columns {
  const blank: Row = {}
  // Defined rather than set: a column may be called __proto__.
  for (const { name } of fields) {
    Object.defineProperty(blank, name, { value: null, enumerable: true, configurable: true, writable: true })
  }
  const parsers = fields.map((field) => {
    const parser = field.format === 'binary' ? AS_IT_IS : types.getTypeParser(field.dataTypeID)
    return parser === AS_IT_IS ? null : parser
  })
  return {
    fields,
    parsers,
    readers: parsers.map((parser, index) => readerOf(parser, fields[index]?.dataTypeID ?? 0)),
    blank,
    isIncomplete: types.unknownOf(fields).length > 0,
  }
}

/**
 * Makes values of what is still text in rows, which are objects or arrays: in columns that had no parser `before`. Types of
 * which nobody knows whether they are arrays are looked up by the session.
 */
export async function parseTexts(
  rows: readonly unknown[],
  { fields }: Pick<Columns, 'fields'>,
  session: Pick<Session, 'run'> & { readonly types: SessionTypes },
  before = NO_COLUMNS,
): Promise<Columns> {
  const { types } = session
  const unknown = types.unknownOf(fields)
  if (unknown.length > 0) await types.lookUp(unknown, session)
  const columns = toColumns(types, fields)
  for (const [index, parser] of columns.parsers.entries()) {
    const field = fields[index]
    if (field === undefined || parser === null || (before.parsers[index] ?? null) !== null) continue
    // A name that occurs twice has the value of the last one.
    const isLast = !fields.some(({ name }, later) => later > index && name === field.name)
    for (const row of rows as Record<string | number, unknown>[]) {
      const key = Array.isArray(row) ? index : field.name
      const text = row[key]
      if (typeof text === 'string' && (isLast || key === index)) row[key] = parse(parser, text, field)
    }
  }
  return columns
}

function parse(parser: Parser, text: string, field?: pg.FieldDef): unknown {
  try {
    return parser(text)
  } catch (cause) {
    throw unreadable(field, cause)
  }
}

/** The error of a parser, or of a text that is too long, with the column that it is about. It never quotes the value. */
function unreadable(
  { name = '', dataTypeID = 0 }: Partial<pg.FieldDef> = {},
  cause: unknown,
): UnreadableError {
  const what = `Column '${name}', of type ${typeName(dataTypeID)}, holds a value that cannot be read`
  if (isStringTooLong(cause)) {
    return new UnreadableError(
      `${what}: as a text it is longer than a string may be. Read it in parts, by substring().`,
      {
        cause,
      },
    )
  }
  const why = cause instanceof UnreadableError ? cause.message : 'its parser has failed'
  return new UnreadableError(`${what}: ${why}. Select it as text: CAST(… AS text).`, { cause })
}

/** Types whose texts are digits, and fit a number: somebody may have set that parser for others. */
const INTEGERS = new Set<number>([pg.types.builtins.INT2, pg.types.builtins.INT4, pg.types.builtins.OID])

function readerOf(parser: Parser | null, type: number): Reader {
  if (parser === null) return readText
  if (parser === AS_INTEGER && isPlainInteger && INTEGERS.has(type)) return readInteger
  return (bytes, from, to) => parser(readText(bytes, from, to))
}

/** `toString()` takes half as long again to find out what it is asked for; what it then calls, its types leave out. */
function readText(
  bytes: Buffer & { utf8Slice?(from: number, to: number): string },
  from: number,
  to: number,
): string {
  return bytes.utf8Slice === undefined ? bytes.toString('utf8', from, to) : bytes.utf8Slice(from, to)
}

function readInteger(bytes: Buffer, from: number, to: number): number {
  const isNegative = bytes[from] === MINUS
  let size = 0
  for (let at = isNegative ? from + 1 : from; at < to; at += 1) size = 10 * size + ((bytes[at] ?? 0) - ZERO)
  return isNegative ? -size : size
}

const MINUS = 45
const ZERO = 48

/** A row as the server sends it, from `at`: https://www.postgresql.org/docs/current/protocol-message-formats.html#PROTOCOL-MESSAGE-FORMATS-DATAROW */
export function readRow(bytes: Buffer, at: number, { fields, readers, blank }: Columns): Row {
  const row = { ...blank }
  const count = bytes.readInt16BE(at)
  let from = at + COUNT_SIZE
  let i = 0
  try {
    for (; i < count; i += 1) {
      const size = bytes.readInt32BE(from)
      from += LENGTH_SIZE
      const field = fields[i]
      const read = readers[i]
      // A name that occurs twice has the value of the last one, also when that is null.
      if (field !== undefined && read !== undefined)
        row[field.name] = size < 0 ? null : read(bytes, from, from + size)
      if (size > 0) from += size
    }
  } catch (cause) {
    throw unreadable(fields[i], cause)
  }
  return row
}

/** The same where columns of one name are kept apart. */
export function readArray(bytes: Buffer, at: number, { fields, readers }: Columns): unknown[] {
  const row: unknown[] = []
  let from = at + COUNT_SIZE
  try {
    for (const read of readers) {
      const size = bytes.readInt32BE(from)
      const start = from + LENGTH_SIZE
      from = size > 0 ? start + size : start
      row.push(size < 0 ? null : read(bytes, start, from))
    }
  } catch (cause) {
    throw unreadable(fields[row.length], cause)
  }
  return row
}

/** The text of its first value. */
export function readFirst(bytes: Buffer, at: number): string | null {
  const from = at + COUNT_SIZE + LENGTH_SIZE
  const size = bytes.readInt32BE(from - LENGTH_SIZE)
  return size < 0 ? null : readText(bytes, from, from + size)
}

/** The count of its values, and before each value its length. */
const COUNT_SIZE = 2
const LENGTH_SIZE = 4

/** The same of texts that pg has made of the bytes. */
export function toRow(texts: readonly (string | null)[], columns: Columns): Row {
  const row = { ...columns.blank }
  for (const [i, value] of toArray(texts, columns).entries()) {
    const field = columns.fields[i]
    // A name that occurs twice has the value of the last one, also when that is null.
    if (field !== undefined) row[field.name] = value
  }
  return row
}

export function toArray(texts: readonly (string | null)[], { fields, parsers }: Columns): unknown[] {
  return texts.map((text, i) => {
    const parser = parsers[i] ?? null
    return text === null || parser === null ? text : parse(parser, text, fields[i])
  })
}
