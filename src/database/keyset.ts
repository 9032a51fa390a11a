/** Keyset pagination: each page of a query begins where the one before has ended, which an index finds without counting. */
import { inspect } from 'node:util'
import type { Knex } from 'knex'
import type { Dialect } from './driver/dialect'
import { codeOf } from './driver/driver-error'
import type { Row } from './driver/statement'
import { ConfigurationError, CursorError, QueryError } from './errors'
import { hostOf, type KnexHost } from './knex/host'
import type { KnownColumns, OrderColumn, RowOf } from './query/inferred-rows'
import type { Queryable, QueryOptions } from './query/queryable'
import { extensibleCopy } from './sql/builder-compiler'

export interface KeysetOptions<Q = Knex.QueryBuilder> extends QueryOptions {
  /**
   * The columns that the rows are ordered by, which together are unique: end with the primary key. One that may be NULL
   * says where its NULLs go, by `nulls`.
   */
  readonly orderBy: readonly OrderColumn<Q>[]
  /** How many rows a page has at most. */
  readonly limit: number
  /** The `next` of the page before, or the values of its last row in the columns of `orderBy`. Left out for the first page. */
  readonly after?: string | readonly unknown[] | null
}

export interface KeysetPage<R> {
  readonly rows: R[]
  /** The cursor of the next page; null if this is the last one. Whoever has it can read the values of `orderBy` in the last row. */
  readonly next: string | null
}

interface OrderedColumn {
  readonly column: string
  readonly order: 'asc' | 'desc'
  readonly nulls: 'first' | 'last' | undefined
}

type Values = readonly unknown[]

/** SQL with `??` for names and `?` for values, and both of them. */
type Condition = [sql: string, bindings: Values]

/** The column that holds what the cursor is made of. A name that functions which rename columns leave as it is. */
const KEY = 'keysetkey'

type KeyedRow = Row & Record<typeof KEY, string>

/**
 * Fetches one page of a builder's rows. The order and limit of the builder itself are replaced. A cursor is exact: it has
 * each value as the database writes it, with all digits, and not as JavaScript reads it.
 *
 * @throws CursorError for a cursor that is none, or that belongs to another order: `problems()` answers 422
 * @throws ConfigurationError for an order that is not unique, and for a NULL in a column without `nulls`, if they are met
 * @example
 * const posts = database.table('posts').where({ author_id: 1 })
 * const { rows, next } = await keyset(database, posts, { orderBy: ['title', 'id'], limit: 50 })
 * const following = await keyset(database, posts, { orderBy: ['title', 'id'], limit: 50, after: next })
 */
export async function keyset<R extends object = Row, Q extends Knex.QueryBuilder = Knex.QueryBuilder>(
  queryable: Queryable,
  builder: Q & KnownColumns<Q>,
  options: KeysetOptions<Q>,
): Promise<KeysetPage<RowOf<Q, R>>> {
  const { orderBy, limit, after = null, ...queryOptions } = options
  const order = orderOf(orderBy)
  if (!Number.isSafeInteger(limit) || limit < 1)
    throw new ConfigurationError(`limit is a whole number from 1 up, got ${inspect(limit)}.`)
  const { query, dialect } = copyOf(builder)
  const columns = order.map(({ column }) => column)
  const key = dialect.exactTexts(columns)
  query.select(query.client.raw(`${key.sql} as ??`, [...key.bindings, KEY]))
  if (after !== null) {
    const values = typeof after === 'string' ? decode(after, order, dialect) : checkValues(after, order)
    const [sql, bindings] = conditionAfter(order, values)
    query.whereRaw(sql, bindings as Knex.RawBinding[])
  }
  // One more, which tells whether there is another page.
  query.limit(limit + 1)
  // Raw: on SQLite, Knex's own `nulls` orders by whether there is a NULL, and by nothing else.
  for (const { column, order: direction, nulls } of order)
    query.orderByRaw(nulls === undefined ? `?? ${direction}` : `?? ${direction} nulls ${nulls}`, [column])
  const fetched = await fetchKeyed(queryable, query, queryOptions, typeof after === 'string')
  refuseNulls(order, fetched)
  const [last, following] = fetched.slice(limit - 1)
  if (following !== undefined && following[KEY] === last?.[KEY])
    throw new ConfigurationError(
      `Two rows are equal in ${columns.join(', ')}, so that no page can begin between them. End orderBy with a unique column.`,
    )
  const rows = fetched.slice(0, limit).map(({ [KEY]: _key, ...row }) => row as RowOf<Q, R>)
  return { rows, next: last === undefined || following === undefined ? null : encode(order, last[KEY]) }
}

function orderOf(orderBy: readonly (string | Partial<OrderedColumn>)[]): readonly OrderedColumn[] {
  if (!Array.isArray(orderBy) || orderBy.length === 0)
    throw new ConfigurationError(`orderBy is a list of at least one column, got ${inspect(orderBy)}.`)
  return orderBy.map((one) => {
    const { column, order = 'asc', nulls } = typeof one === 'string' ? { column: one } : one
    const isKnown =
      (order === 'asc' || order === 'desc') && (nulls === undefined || nulls === 'first' || nulls === 'last')
    if (typeof column === 'string' && isKnown) return { column, order, nulls }
    throw new ConfigurationError(
      `orderBy takes names of columns, or { column, order: 'asc' or 'desc', nulls: 'first' or 'last' }, got ${inspect(one)}.`,
    )
  })
}

function copyOf(builder: Knex.QueryBuilder): { query: Knex.QueryBuilder; dialect: Dialect } {
  const query = extensibleCopy(builder)
  // A Knex instance that is no Database's has none.
  const host: KnexHost | undefined = query === null ? undefined : hostOf(query.client)
  if (query !== null && host !== undefined)
    return { query: query.clear('order').clear('limit').clear('offset'), dialect: host.dialect }
  throw new ConfigurationError(
    'keyset() takes a builder of one SELECT that is made by database.table() or database.knex(). A union goes into ' +
      "another one: database.knex.select('*').from(union.as('name')).",
  )
}

/** @throws CursorError when the database cannot read the values of a cursor as those of its columns */
async function fetchKeyed(
  queryable: Queryable,
  query: Knex.QueryBuilder,
  options: QueryOptions,
  hasCursor: boolean,
): Promise<KeyedRow[]> {
  try {
    return await queryable.fetchAll<KeyedRow>(query, {}, options)
  } catch (error) {
    // Class 22 of SQLSTATE: a value that its type cannot have.
    if (!hasCursor || !(error instanceof QueryError) || !codeOf(error.cause).startsWith('22')) throw error
    throw new CursorError('The cursor has a value that its column cannot have.', { cause: error })
  }
}

/** Returns the condition for the rows behind those values. */
function conditionAfter(order: readonly OrderedColumn[], values: Values): Condition {
  const [first] = order
  const isUniform = order.every((one) => one.order === first?.order && one.nulls === undefined)
  const columns = order.map(({ column }) => column)
  // A comparison of rows is read off an index.
  if (isUniform && order.length > 1) {
    const operator = first?.order === 'desc' ? '<' : '>'
    const list = (mark: string): string => order.map(() => mark).join(', ')
    return [`(${list('??')}) ${operator} (${list('?')})`, [...columns, ...values]]
  }
  const [sql, bindings] = lexicographic(order, values)
  if (first === undefined || first.nulls !== undefined || order.length === 1) return [sql, bindings]
  // Follows from the rest, and lets an index of the first column be used.
  const bound = `?? ${first.order === 'desc' ? '<=' : '>='} ?`
  return [`(${bound} AND ${sql})`, [first.column, values[0], ...bindings]]
}

/** Compares by the first column, and where that is equal, by the others. */
function lexicographic([first, ...others]: readonly OrderedColumn[], [value, ...rest]: Values): Condition {
  if (first === undefined) return ['1 = 0', []]
  const [behind, bindings] = columnAfter(first, value)
  if (others.length === 0) return [behind, bindings]
  const [next, nextBindings] = lexicographic(others, rest)
  const [equal, equals] = value === null ? ['?? IS NULL', [first.column]] : ['?? = ?', [first.column, value]]
  return [`(${behind} OR (${equal} AND ${next}))`, [...bindings, ...equals, ...nextBindings]]
}

function columnAfter({ column, order, nulls }: OrderedColumn, value: unknown): Condition {
  if (value === null) return nulls === 'first' ? ['?? IS NOT NULL', [column]] : ['1 = 0', []]
  const [sql, bindings] = [`?? ${order === 'desc' ? '<' : '>'} ?`, [column, value]]
  return nulls === 'last' ? [`(${sql} OR ?? IS NULL)`, [...bindings, column]] : [sql, bindings]
}

/** A comparison with NULL is never true, so that such rows would be left out without a word. */
function refuseNulls(order: readonly OrderedColumn[], rows: readonly KeyedRow[]): void {
  if (order.every(({ nulls }) => nulls !== undefined)) return
  for (const { [KEY]: key } of rows) {
    // Most keys need not be parsed.
    const texts = key.includes('null') ? (JSON.parse(key) as Values) : []
    const found = order.find(({ nulls }, index) => nulls === undefined && texts[index] === null)
    if (found !== undefined)
      throw new ConfigurationError(
        `Column '${found.column}' is NULL in a row. Say where such rows go: { column: '${found.column}', nulls: 'last' }.`,
      )
  }
}

/** Identifies an order, so that a cursor of one is not taken for that of another. */
function nameOf(order: readonly OrderedColumn[]): string {
  return order
    .map(({ column, order: direction, nulls = '' }) => `${column} ${direction} ${nulls}`.trim())
    .join(', ')
}

function encode(order: readonly OrderedColumn[], key: string): string {
  const texts = JSON.parse(key) as string[]
  return Buffer.from(JSON.stringify([nameOf(order), ...texts])).toString('base64url')
}

/** @throws CursorError */
function decode(cursor: string, order: readonly OrderedColumn[], dialect: Dialect): Values {
  const [name, ...texts] = parse(cursor)
  if (name !== nameOf(order))
    throw new CursorError('The cursor belongs to another query or order, or is not a cursor.')
  const values = texts.map((text, index) => {
    if (text === null && order[index]?.nulls !== undefined) return null
    return typeof text === 'string' ? dialect.parseExact(text) : undefined
  })
  if (values.length !== order.length || values.includes(undefined))
    throw new CursorError('The cursor does not have the values of its order.')
  return values
}

function parse(cursor: string): Values {
  try {
    const parsed: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString())
    return Array.isArray(parsed) ? parsed : []
  } catch {
    return []
  }
}

function checkValues(values: Values, order: readonly OrderedColumn[]): Values {
  const isComplete = values.length === order.length && values.every((value) => value !== undefined)
  if (isComplete && order.every(({ nulls }, index) => nulls !== undefined || values[index] !== null))
    return values
  throw new ConfigurationError(
    `after has one value for each of ${order.length} columns of orderBy; NULL where those have nulls.`,
  )
}
