/** Decodes PostgreSQL's rows into objects or arrays, faster than pg does. */
import pg from 'pg'
import type { Result, Row } from '../driver/statement'
import type { Session } from '../driver/session'
import { isStringTooLong } from '../driver/driver-error'
import type { SessionTypeParsers } from './array-types'
import { IDENTITY_PARSER, type Parser, typeName, UnreadableError } from './value-parsers'

/** Decodes one value from its bytes. */
type Reader = (bytes: Buffer, from: number, to: number) => unknown

/** The columns of a result, with all that is needed to decode rows. */
export interface Columns {
  readonly fields: readonly pg.FieldDef[]
  /** One for each column; null where the text is the value. */
  readonly parsers: readonly (Parser | null)[]
  /** One for each column. */
  readonly readers: readonly Reader[]
  /** A row whose values are null: copying it is faster than adding column by column. */
  readonly emptyRow: Row
  /** True if types have to be looked up before all texts can be parsed. */
  readonly hasUnknownTypes: boolean
}

/** Commands whose tag counts the rows that they changed; the tag of SELECT counts the rows that it read. */
const CHANGES = new Set(['INSERT', 'UPDATE', 'DELETE', 'MERGE'])

/** The result of a prepared statement. */
export class PreparedResult implements Result {
  readonly rows: readonly unknown[]
  readonly command: string
  readonly rowCount: number
  readonly lastInsertId = null
  /** The id of its transaction, if that was asked for. */
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

  /** The result in the form of pg's own. */
  get forKnex() {
    const { command, rows } = this
    const rowCount = this.#tag === '' ? rows.length : countOf(this.#tag)
    return { response: { command, rowCount, rows, fields: this.columns.fields, oid: null } }
  }
}

/** Returns the number at the end of a command's tag, such as `INSERT 0 3`. */
function countOf(tag: string): number {
  return Number(tag.slice(tag.lastIndexOf(' ') + 1))
}

export const NO_COLUMNS: Columns = {
  fields: [],
  parsers: [],
  readers: [],
  emptyRow: {},
  hasUnknownTypes: false,
}

/** pg's parser of integers, or the one that the program has put in its place. */
const AS_INTEGER = pg.types.getTypeParser(pg.types.builtins.INT4, 'text') as Parser
const isPlainInteger = ['0', '-7', '2147483647'].every((text) => AS_INTEGER(text) === Number(text))

export function toColumns(types: SessionTypeParsers, fields: readonly pg.FieldDef[]): Columns {
  const emptyRow: Row = {}
  // Not by assignment: a column may be called __proto__.
  for (const { name } of fields) {
    Object.defineProperty(emptyRow, name, {
      value: null,
      enumerable: true,
      configurable: true,
      writable: true,
    })
  }
  const parsers = fields.map((field) => {
    const parser = field.format === 'binary' ? IDENTITY_PARSER : types.getTypeParser(field.dataTypeID)
    return parser === IDENTITY_PARSER ? null : parser
  })
  return {
    fields,
    parsers,
    readers: parsers.map((parser, index) => readerOf(parser, fields[index]?.dataTypeID ?? 0)),
    emptyRow,
    hasUnknownTypes: types.unknownTypes(fields).length > 0,
  }
}

/**
 * Looks up unknown types by the session, then parses texts in place in rows that are objects or arrays: in the columns that
 * had no parser in `previous`. Returns the columns with their parsers.
 */
export async function parseRemainingTexts(
  rows: readonly unknown[],
  { fields }: Pick<Columns, 'fields'>,
  session: Pick<Session, 'run'> & { readonly types: SessionTypeParsers },
  previous = NO_COLUMNS,
): Promise<Columns> {
  const { types } = session
  const unknown = types.unknownTypes(fields)
  if (unknown.length > 0) await types.lookUp(unknown, session)
  const columns = toColumns(types, fields)
  for (const [index, parser] of columns.parsers.entries()) {
    const field = fields[index]
    if (field === undefined || parser === null || (previous.parsers[index] ?? null) !== null) continue
    // Of columns with the same name an object has the value of the last one.
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

/** Makes an error that names the column and the reason. It never quotes the value. */
function unreadable(
  { name = '', dataTypeID = 0 }: Partial<pg.FieldDef> = {},
  cause: unknown,
): UnreadableError {
  const what = `Column '${name}', of type ${typeName(dataTypeID)}, holds a value that cannot be read`
  if (isStringTooLong(cause)) {
    return new UnreadableError(
      `${what}: as a text it is longer than a string may be. Read it in parts, by substring().`,
      { cause },
    )
  }
  const why = cause instanceof UnreadableError ? cause.message : 'its parser has failed'
  return new UnreadableError(`${what}: ${why}. Select it as text: CAST(… AS text).`, { cause })
}

/** Types whose text is an integer that fits a number. A program may have set the integer parser for other types as well. */
const INTEGERS = new Set<number>([pg.types.builtins.INT2, pg.types.builtins.INT4, pg.types.builtins.OID])

function readerOf(parser: Parser | null, type: number): Reader {
  if (parser === null) return readText
  if (parser === AS_INTEGER && isPlainInteger && INTEGERS.has(type)) return readInteger
  return (bytes, from, to) => parser(readText(bytes, from, to))
}

/** Calls `utf8Slice`, which `toString()` calls too, after checks that take half as long again. Its types leave it out. */
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

/** Decodes a DataRow from `at` to an object: https://www.postgresql.org/docs/current/protocol-message-formats.html#PROTOCOL-MESSAGE-FORMATS-DATAROW */
export function readRow(bytes: Buffer, at: number, { fields, readers, emptyRow }: Columns): Row {
  const row = { ...emptyRow }
  const count = bytes.readInt16BE(at)
  let from = at + COUNT_SIZE
  let i = 0
  try {
    for (; i < count; i += 1) {
      const size = bytes.readInt32BE(from)
      from += LENGTH_SIZE
      const field = fields[i]
      const read = readers[i]
      // Of columns with the same name the last one wins, also with null.
      if (field !== undefined && read !== undefined)
        row[field.name] = size < 0 ? null : read(bytes, from, from + size)
      if (size > 0) from += size
    }
  } catch (cause) {
    throw unreadable(fields[i], cause)
  }
  return row
}

/** Decodes a DataRow from `at` to an array, which keeps columns of the same name apart. */
export function readRowAsArray(bytes: Buffer, at: number, { fields, readers }: Columns): unknown[] {
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

/** Returns the text of the first value of a DataRow. */
export function readFirst(bytes: Buffer, at: number): string | null {
  const from = at + COUNT_SIZE + LENGTH_SIZE
  const size = bytes.readInt32BE(from - LENGTH_SIZE)
  return size < 0 ? null : readText(bytes, from, from + size)
}

/** Sizes in bytes of the number of values, and of the length in front of each value. */
const COUNT_SIZE = 2
const LENGTH_SIZE = 4

/** Makes a row of texts that pg has decoded. */
export function toRow(texts: readonly (string | null)[], columns: Columns): Row {
  const row = { ...columns.emptyRow }
  for (const [i, value] of toRowArray(texts, columns).entries()) {
    const field = columns.fields[i]
    // Of columns with the same name the last one wins, also with null.
    if (field !== undefined) row[field.name] = value
  }
  return row
}

export function toRowArray(texts: readonly (string | null)[], { fields, parsers }: Columns): unknown[] {
  return texts.map((text, i) => {
    const parser = parsers[i] ?? null
    return text === null || parser === null ? text : parse(parser, text, fields[i])
  })
}
