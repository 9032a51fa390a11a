/** Keyset pagination: each page has the place where the next one begins, so that no page is slower than the first. */
import * as z from 'zod'
import { HttpProblem } from '../express'
import { id } from './field-schemas'

/** Which rows a query has to fetch: those after a place in an order, one more than the client is shown. */
export interface Page<F extends string = never> {
  /** The field that rows are sorted by. Rows with equal values are sorted by id. */
  readonly by: F | 'id'
  readonly descending: boolean
  readonly after: Place | null
  readonly limit: number
}

/** The place of a row in an order. */
export interface Place {
  readonly value: string | number
  readonly id: number
}

/** The fields that a list can be sorted by, apart from the id, with the type of their values. */
type SortFields<F extends string> = Readonly<Record<F, 'text' | 'number'>>

type Filters = Readonly<Record<string, z.ZodOptional>>

type ListedRow<F extends string> = { readonly id: number } & Readonly<Record<F, string | number>>

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
export function paginatedList<const F extends string, const S extends Filters>({
  sorts,
  filters,
  ids = id,
}: {
  readonly sorts: SortFields<F>
  readonly filters: S
  /** Default: the ids of a 32-bit column. */
  readonly ids?: z.ZodInt
}) {
  const names = ['id', ...(Object.keys(sorts) as F[])] as const
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
    /**
     * Answers with one page of what `fetch` returns, and with the address of the next page in the `Link` header, if there is
     * one. The extra row that is fetched tells whether there is.
     */
    async answer<R extends ListedRow<F>>(
      path: string,
      pageQuery: PageQuery,
      fetch: (page: Page<F>) => Promise<readonly R[]>,
    ): Promise<Answer<R>> {
      const descending = pageQuery.sort.startsWith('-')
      const by = (descending ? pageQuery.sort.slice(1) : pageQuery.sort) as F | 'id'
      const after =
        pageQuery.after === undefined
          ? null
          : decodeCursor(pageQuery.after, pageQuery.sort, by === 'id' ? null : VALUE_SCHEMAS[sorts[by]], ids)
      const rows = await fetch({ by, descending, after, limit: pageQuery.limit + 1 })
      const body = rows.slice(0, pageQuery.limit)
      const last = body.at(-1)
      if (rows.length <= pageQuery.limit || last === undefined) return { status: 200, body, headers: {} }
      const next = nextPageQuery(
        pageQuery,
        by === 'id' ? String(last.id) : encodeCursor(pageQuery.sort, last[by], last.id),
      )
      return { status: 200, body, headers: { Link: `<${path}?${next}>; rel="next"` } }
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

/** Makes the opaque cursor of any order but that by id, whose cursor is the id: it holds the order, the value and the id. */
function encodeCursor(sort: string, value: string | number, lastId: number): string {
  return Buffer.from(JSON.stringify([sort, value, lastId])).toString('base64url')
}

const VALUE_SCHEMAS = {
  // PostgreSQL fails on NUL and lone surrogates even in a query, and no stored row can contain them.
  text: z.string().regex(/^[^\0\p{Cs}]*$/u),
  number: z.int(),
}

type ValueSchema = (typeof VALUE_SCHEMAS)[keyof typeof VALUE_SCHEMAS]

/** @throws HttpProblem 422 when the cursor belongs to another list or order, or is not a cursor */
function decodeCursor(cursor: string, sort: string, valueSchema: ValueSchema | null, ids: z.ZodInt): Place {
  if (valueSchema === null) {
    const own = /^\d+$/.test(cursor) ? ids.safeParse(Number(cursor)) : undefined
    if (own?.success !== true) throw invalidCursor()
    return { value: own.data, id: own.data }
  }
  const place = z.tuple([z.literal(sort), valueSchema, ids]).safeParse(parseCursor(cursor))
  if (!place.success) throw invalidCursor()
  const [, value, lastId] = place.data
  return { value, id: lastId }
}

function parseCursor(cursor: string): unknown {
  try {
    return JSON.parse(Buffer.from(cursor, 'base64url').toString())
  } catch {
    return undefined
  }
}

function invalidCursor(): HttpProblem {
  const msg = 'Not a place in this list and order: take it from the Link header of the page before'
  return new HttpProblem(422, 'The query is not valid.', { errors: [{ loc: ['query', 'after'], msg }] })
}
