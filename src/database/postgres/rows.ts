/** Makes rows, as objects or arrays, of what pg has read. */
import type pg from 'pg'
import type { Row } from '../driver/statement'
import type { Session } from '../driver/session'
import type { SessionTypeParsers } from './array-types'
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
