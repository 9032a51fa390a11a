/** Rows of PostgreSQL's texts, made faster than pg makes them. */
import pg from 'pg'
import type { Result, Row } from './dialect'

type Parser = (text: string) => unknown

/** Makes a value of its bytes. */
type Reader = (bytes: Buffer, from: number, to: number) => unknown

/** Where the parser of a type is found. */
export interface Types {
  getTypeParser(oid: number, format: 'text'): Parser
}

/** The columns of a result, ready to make rows of. */
export interface Columns {
  readonly fields: readonly pg.FieldDef[]
  /** Null where the text is the value. */
  readonly parsers: readonly (Parser | null)[]
  /** The same for bytes. */
  readonly readers: readonly Reader[]
  /** A row without values: to copy it is faster than to make one column by column. */
  readonly blank: Row
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
  readonly #tag: string
  readonly #columns: Columns

  constructor(tag: string, rows: readonly unknown[], columns: Columns, transactionId: string | null) {
    const space = tag.indexOf(' ')
    this.#tag = tag
    this.rows = rows
    this.command = space < 0 ? tag : tag.slice(0, space)
    this.rowCount = CHANGES.has(this.command) ? countOf(tag) : 0
    this.transactionId = transactionId
    this.#columns = columns
  }

  /** As pg has it. */
  get forKnex() {
    const { command, rows } = this
    const rowCount = this.#tag === '' ? rows.length : countOf(this.#tag)
    return { response: { command, rowCount, rows, fields: this.#columns.fields, oid: null } }
  }
}

/** The number at the end of a command's tag, such as `INSERT 0 3`. */
function countOf(tag: string): number {
  return Number(tag.slice(tag.lastIndexOf(' ') + 1))
}

export const NO_COLUMNS: Columns = { fields: [], parsers: [], readers: [], blank: {} }

/** What pg has for types whose text is the value, such as `text` itself. */
const AS_IT_IS: unknown = pg.types.getTypeParser(pg.types.builtins.TEXT, 'text')

/** What pg has for whole numbers, unless somebody has set another one. */
const AS_INTEGER = pg.types.getTypeParser(pg.types.builtins.INT4, 'text') as Parser
const isPlainInteger = ['0', '-7', '2147483647'].every((text) => AS_INTEGER(text) === Number(text))

export function toColumns(types: Types, fields: readonly pg.FieldDef[]): Columns {
  const blank: Row = {}
  // Defined rather than set: a column may be called __proto__.
  for (const { name } of fields) {
    Object.defineProperty(blank, name, { value: null, enumerable: true, configurable: true, writable: true })
  }
  const parsers = fields.map(({ dataTypeID }) => {
    const parser = types.getTypeParser(dataTypeID, 'text')
    return parser === AS_IT_IS ? null : parser
  })
  return {
    fields,
    parsers,
    readers: parsers.map((parser, index) => readerOf(parser, fields[index]?.dataTypeID ?? 0)),
    blank,
  }
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
  for (let i = 0; i < count; i += 1) {
    const size = bytes.readInt32BE(from)
    from += LENGTH_SIZE
    const field = fields[i]
    const read = readers[i]
    // A name that occurs twice has the value of the last one, also when that is null.
    if (field !== undefined && read !== undefined)
      row[field.name] = size < 0 ? null : read(bytes, from, from + size)
    if (size > 0) from += size
  }
  return row
}

/** The same where columns of one name are kept apart. */
export function readArray(bytes: Buffer, at: number, { readers }: Columns): unknown[] {
  let from = at + COUNT_SIZE
  return readers.map((read) => {
    const size = bytes.readInt32BE(from)
    const start = from + LENGTH_SIZE
    from = size > 0 ? start + size : start
    return size < 0 ? null : read(bytes, start, from)
  })
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
export function toRow(texts: readonly (string | null)[], { fields, parsers, blank }: Columns): Row {
  const row = { ...blank }
  for (let i = 0; i < texts.length; i += 1) {
    const text = texts[i] ?? null
    const field = fields[i]
    const parser = parsers[i] ?? null
    // A name that occurs twice has the value of the last one, also when that is null.
    if (field !== undefined) row[field.name] = text === null || parser === null ? text : parser(text)
  }
  return row
}

export function toArray(texts: readonly (string | null)[], { parsers }: Columns): unknown[] {
  return texts.map((text, i) => {
    const parser = parsers[i] ?? null
    return text === null || parser === null ? text : parser(text)
  })
}
