/** Lists in pages: each is told where the next one begins, so that no page is ever slower than the first. */
import { z } from 'zod'
import { id } from './fields'

export const pageQuery = z.strictObject({
  limit: z.int().min(1).max(100).default(50),
  after: id.optional(),
})

/** Which rows a query is to fetch: those after an id, one more than are shown. */
export interface Page {
  readonly after: number
  readonly limit: number
}

/** One row more than is shown tells whether there is a next page, without counting. */
export function pageOf({ after, limit }: z.output<typeof pageQuery>): Page {
  return { after: after ?? 0, limit: limit + 1 }
}

/** An answer with one page of rows, and in its `Link` header the address of the next page if there is one. */
export function pageAnswer<R extends { readonly id: number }>(
  path: string,
  rows: readonly R[],
  { limit }: z.output<typeof pageQuery>,
): { status: 200; body: R[]; headers: Record<string, string> } {
  const body = rows.slice(0, limit)
  const last = body.at(-1)
  const hasNext = rows.length > limit && last !== undefined
  const next = hasNext ? { Link: `<${path}?limit=${limit}&after=${last.id}>; rel="next"` } : {}
  return { status: 200, body, headers: { ...next } }
}
