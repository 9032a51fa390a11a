/** Makes rows, as objects or arrays, and results of what pg has read. */
import type pg from 'pg'
import type { Result, Row } from '../driver/statement'
import type { Session } from '../driver/session'
import type { SessionTypeParsers } from './array-types'
import { changedRows } from './simple-query'
import { IDENTITY_PARSER, type Parser, typeName, UnreadableError } from './value-parsers'

/** The columns of a result, with all that is needed to make rows. */
export interface Columns {
  readonly fields: readonly pg.FieldDef[]
  /** One for each column; null where the text is the value. */
  readonly parsers: readonly (Parser | null)[]
  /** A row whose values are null: copying it is faster than adding column by column. */
  readonly emptyRow: Row
  /** True if types have to be looked up before all texts can be parsed. */
  readonly hasUnknownTypes: boolean
}

export const NO_COLUMNS: Columns = { fields: [], parsers: [], emptyRow: {}, hasUnknownTypes: false }

/** The result of a query by the extended protocol. */
export class ExtendedResult implements Result {
  readonly rows: readonly unknown[]
  readonly command: string
  readonly rowCount: number
  readonly lastInsertId = null
  /** False if rows may follow, because a limited number was asked for. */
  readonly isComplete: boolean
  readonly columns: Columns
  /** The id of its transaction, if that was asked for. */
  readonly transactionId: string | null
  /** How many bytes the server has sent for the rows. */
  readonly bytes: number
  readonly #tag: string

  /** `tag`: such as `INSERT 0 3`. */
  constructor(
    tag: string | null,
    rows: readonly unknown[],
    columns: Columns,
    transactionId: string | null,
    bytes: number,
  ) {
    this.#tag = tag ?? ''
    this.rows = rows
    const space = this.#tag.indexOf(' ')
    this.command = space < 0 ? this.#tag : this.#tag.slice(0, space)
    this.rowCount = changedRows(this.command, countIn(this.#tag))
    this.isComplete = tag !== null
    this.columns = columns
    this.transactionId = transactionId
    this.bytes = bytes
  }

  /** The result in the form of pg's own. */
  get forKnex() {
    const { command, rows } = this
    const rowCount = this.isComplete ? countIn(this.#tag) : rows.length
    return { response: { command, rowCount, rows, fields: this.columns.fields, oid: null } }
  }
}

/** Returns the number at the end of a command's tag; null if there is none, as in `CREATE TABLE`. */
function countIn(tag: string): number | null {
  const count = Number(tag.slice(tag.lastIndexOf(' ') + 1) || NaN)
  return Number.isNaN(count) ? null : count
}

export function toColumns(types: SessionTypeParsers, fields: readonly pg.FieldDef[]): Columns {
  // Unlike an assignment it also makes a column that is called __proto__.
  const emptyRow = Object.fromEntries(fields.map(({ name }) => [name, null]))
  const parsers = fields.map((field) => {
    const parser = field.format === 'binary' ? IDENTITY_PARSER : types.getTypeParser(field.dataTypeID)
    return parser === IDENTITY_PARSER ? null : parser
  })
  return { fields, parsers, emptyRow, hasUnknownTypes: types.unknownTypes(fields).length > 0 }
}

/** Makes a row that is an object. Of columns with the same name it has the value of the last one. */
export function toRow(texts: readonly (string | null)[], { fields, parsers, emptyRow }: Columns): Row {
  const row = { ...emptyRow }
  for (let i = 0; i < texts.length; i += 1) {
    const field = fields[i]
    if (field !== undefined) row[field.name] = toValue(texts[i] ?? null, parsers[i] ?? null, field)
  }
  return row
}

/** Makes a row that is an array, which keeps columns of the same name apart. */
export function toRowArray(texts: readonly (string | null)[], { fields, parsers }: Columns): unknown[] {
  return texts.map((text, i) => toValue(text, parsers[i] ?? null, fields[i]))
}

function toValue(text: string | null, parser: Parser | null, field: pg.FieldDef | undefined): unknown {
  return text === null || parser === null ? text : parse(parser, text, field)
}

/** @throws UnreadableError that names the column and the reason */
export function parse(parser: Parser, text: string, field: pg.FieldDef | undefined): unknown {
  try {
    return parser(text)
  } catch (cause) {
    const why = cause instanceof UnreadableError ? cause.message : 'its parser has failed'
    throw unreadable(field, `${why}. Select it as text: CAST(… AS text)`, cause)
  }
}

/** Returns an error that never quotes the value. */
export function unreadable(field: pg.FieldDef | undefined, why: string, cause: unknown): UnreadableError {
  const { name = '', dataTypeID = 0 }: Partial<pg.FieldDef> = field ?? {}
  return new UnreadableError(
    `Column '${name}', of type ${typeName(dataTypeID)}, holds a value that cannot be read: ${why}.`,
    { cause },
  )
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
