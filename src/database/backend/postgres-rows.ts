/** Rows of PostgreSQL's texts, made faster than pg makes them. */
import pg from 'pg'
import type { Result, Row } from './dialect'

type Parser = (text: string) => unknown

/** Where the parser of a type is found. */
export interface Types {
  getTypeParser(oid: number, format: 'text'): Parser
}

/** The columns of a result, ready to make rows of. */
export interface Columns {
  readonly fields: readonly pg.FieldDef[]
  /** Null where the text is the value. */
  readonly parsers: readonly (Parser | null)[]
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

export const NO_COLUMNS: Columns = { fields: [], parsers: [], blank: {} }

/** What pg has for types whose text is the value, such as `text` itself. */
const AS_IT_IS: unknown = pg.types.getTypeParser(pg.types.builtins.TEXT, 'text')

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
  return { fields, parsers, blank }
}

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
