/** The lists of the service: in an order that the client chooses, and in pages, each with the address of the next one. */
import * as z from 'zod'
import { CursorError, type KeysetPage } from '../database'
import { HttpProblem } from '../express'
import { id } from './field-schemas'

/** Which rows a query has to fetch, as keyset() takes it. */
export interface Page<F extends string = never> {
  /** Ends with the id, by which rows with equal values are ordered. */
  readonly orderBy: readonly SortedBy<F | 'id'>[]
  readonly limit: number
  /** The last id seen, where rows are ordered by nothing else; otherwise a cursor. */
  readonly after: readonly [id: number] | ([F] extends [never] ? never : string) | null
}

interface SortedBy<Name> {
  readonly column: Name
  readonly order: 'asc' | 'desc'
}

/** Returns the order of a page for a query in which other tables have columns of the same names. */
export function qualified<F extends string, Table extends string>(
  { orderBy }: Page<F>,
  table: Table,
): SortedBy<`${Table}.${F | 'id'}`>[] {
  return orderBy.map(({ column, order }) => ({ column: `${table}.${column}` as const, order }))
}

type Filters = Readonly<Record<string, z.ZodOptional>>

interface Answer<R> {
  readonly status: 200
  readonly body: R[]
  readonly headers: Record<string, string>
}

interface PageQuery {
  readonly limit: number
  readonly sort: string
  readonly after?: string | undefined
}

/** Defines a list by the fields that it can be sorted and filtered by. Returns its query schema and its handler. */
export function paginatedList<const F extends string = never, const S extends Filters = Filters>({
  sorts,
  filters,
  ids = id,
}: {
  /** Apart from the id. */
  readonly sorts: readonly F[]
  readonly filters: S
  /** Default: the ids of a 32-bit column. */
  readonly ids?: z.ZodInt
}) {
  const names = ['id', ...sorts] as const
  const orders = names.flatMap((name): [string, string] => [name, `-${name}`])
  const query = z.strictObject({
    limit: z.int().min(1).max(100).default(50).meta({ description: 'How many a page shows at most.' }),
    sort: z.enum(orders).default('id').meta({ description: 'The order; with a `-`, backwards.' }),
    ...filters,
    after: z
      .string()
      .optional()
      .meta({
        description:
          'Where the page begins: take it from the `Link` header of the page before. Sorted by id, it is the id of ' +
          'the last row seen.',
        examples: ['1'],
      }),
  })
  return {
    query,
    /** Answers with the page that `fetch` returns, and with the address of the next one in the `Link` header, if there is one. */
    async answer<R extends { readonly id: number }>(
      path: string,
      pageQuery: PageQuery,
      fetch: (page: Page<F>) => Promise<KeysetPage<R>>,
    ): Promise<Answer<R>> {
      const { limit, sort, after = null } = pageQuery
      const order = sort.startsWith('-') ? 'desc' : 'asc'
      const by = sort.replace('-', '') as F | 'id'
      const isById = by === 'id'
      const orderBy = (isById ? ['id' as const] : [by, 'id' as const]).map(
        (column) => ({ column, order }) as const,
      )
      const place = isById && after !== null ? ([idOf(after, ids)] as const) : after
      const { rows, next } = await fetch({ orderBy, limit, after: place as Page<F>['after'] }).catch(
        refuseCursor,
      )
      const last = rows.at(-1)
      if (next === null || last === undefined) return { status: 200, body: rows, headers: {} }
      const nextQuery = nextPageQuery(pageQuery, isById ? String(last.id) : next)
      return { status: 200, body: rows, headers: { Link: `<${path}?${nextQuery}>; rel="next"` } }
    },
  }
}

/** Returns the query of the next page: that of the present one with the next place. The default order is left out. */
function nextPageQuery(pageQuery: PageQuery, cursor: string): string {
  const next = new URLSearchParams()
  for (const [name, value] of Object.entries(pageQuery)) {
    const isOmitted = name === 'after' || (name === 'sort' && value === 'id')
    if (value !== undefined && !isOmitted) next.set(name, String(value))
  }
  next.set('after', cursor)
  return next.toString()
}

/** Reads the cursor of the order by id. @throws HttpProblem 422 when it is no id */
function idOf(cursor: string, ids: z.ZodInt): number {
  const { data } = ids.safeParse(/^\d+$/.test(cursor) ? Number(cursor) : undefined)
  if (data === undefined) throw invalidCursor()
  return data
}

function refuseCursor(error: unknown): never {
  throw error instanceof CursorError ? invalidCursor(error) : error
}

function invalidCursor(cause?: CursorError): HttpProblem {
  const msg = 'Not a place in this list and order: take it from the Link header of the page before'
  return new HttpProblem(422, 'The query is not valid.', {
    errors: [{ loc: ['query', 'after'], msg }],
    cause,
  })
}
