/** Lists in pages: each is told where the next one begins, so that no page is ever slower than the first. */
import * as z from 'zod'
import { HttpProblem } from '../express'
import { id } from './field-schemas'

/** Which rows a query is to fetch: those after a place in an order, one more than are shown. */
export interface Page<F extends string = never> {
  /** What they are sorted by. Those that are equal in it are sorted by their ids. */
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

/** What a list can be sorted by apart from the id, with the kind of its values. */
type Sorts<F extends string> = Readonly<Record<F, 'text' | 'number'>>

type Filters = Readonly<Record<string, z.ZodOptional>>

type Listed<F extends string> = { readonly id: number } & Readonly<Record<F, string | number>>

interface Answer<R> {
  readonly status: 200
  readonly body: R[]
  readonly headers: Record<string, string>
}

interface Asked {
  readonly limit: number
  readonly sort: string
  readonly after?: string | undefined
}

/** A list that can be sorted by what is named here, filtered by what is named here, and by nothing else. */
export function pages<const F extends string, const S extends Filters>({
  sorts,
  filters,
  ids = id,
}: {
  readonly sorts: Sorts<F>
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
     * Answers with one page of what `fetch` finds, and in the `Link` header with the address of the next one if there
     * is any. One row more than is shown tells that, without counting.
     */
    async answer<R extends Listed<F>>(
      path: string,
      asked: Asked,
      fetch: (page: Page<F>) => Promise<readonly R[]>,
    ): Promise<Answer<R>> {
      const descending = asked.sort.startsWith('-')
      const by = (descending ? asked.sort.slice(1) : asked.sort) as F | 'id'
      const after =
        asked.after === undefined
          ? null
          : placeIn(asked.after, asked.sort, by === 'id' ? null : KINDS[sorts[by]], ids)
      const rows = await fetch({ by, descending, after, limit: asked.limit + 1 })
      const body = rows.slice(0, asked.limit)
      const last = body.at(-1)
      if (rows.length <= asked.limit || last === undefined) return { status: 200, body, headers: {} }
      const next = nextOf(asked, by === 'id' ? String(last.id) : cursorOf(asked.sort, last[by], last.id))
      return { status: 200, body, headers: { Link: `<${path}?${next}>; rel="next"` } }
    },
  }
}

/** The same list from there on: what was asked for, with the next place. The order by id goes without saying. */
function nextOf(asked: Asked, cursor: string): string {
  const next = new URLSearchParams()
  for (const [name, value] of Object.entries(asked)) {
    const goesWithoutSaying = name === 'after' || (name === 'sort' && value === 'id')
    if (value !== undefined && !goesWithoutSaying) next.set(name, String(value))
  }
  next.set('after', cursor)
  return next.toString()
}

/** By id the cursor is the id. In any other order it holds the order, the value and the id, for nobody to read. */
function cursorOf(sort: string, value: string | number, lastId: number): string {
  return Buffer.from(JSON.stringify([sort, value, lastId])).toString('base64url')
}

const KINDS = {
  // What no database can store cannot be the place of a row, and PostgreSQL would not even take it as a question.
  text: z.string().regex(/^[^\0\p{Cs}]*$/u),
  number: z.int(),
}

type Kind = (typeof KINDS)[keyof typeof KINDS]

/** @throws HttpProblem 422 when the cursor is of another list or another order, or none at all */
function placeIn(cursor: string, sort: string, kind: Kind | null, ids: z.ZodInt): Place {
  if (kind === null) {
    const own = /^\d+$/.test(cursor) ? ids.safeParse(Number(cursor)) : undefined
    if (own?.success !== true) throw noPlace()
    return { value: own.data, id: own.data }
  }
  const place = z.tuple([z.literal(sort), kind, ids]).safeParse(parsed(cursor))
  if (!place.success) throw noPlace()
  const [, value, lastId] = place.data
  return { value, id: lastId }
}

function parsed(cursor: string): unknown {
  try {
    return JSON.parse(Buffer.from(cursor, 'base64url').toString())
  } catch {
    return undefined
  }
}

function noPlace(): HttpProblem {
  const msg = 'Not a place in this list and order: take it from the Link header of the page before'
  return new HttpProblem(422, 'The query is not valid.', { errors: [{ loc: ['query', 'after'], msg }] })
}
