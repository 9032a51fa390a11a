/** The SQL of keyset pagination: finds the rows after a place in an order by an index, not by counting. */
import { sql, type SqlQuery } from '../database'
import type { Page } from './pagination'

/** The columns that a list can be sorted by, as SQL. */
export type SortColumns<F extends string> = Readonly<Record<F | 'id', SqlQuery>>

/** Returns the condition for rows that come after the place where the page begins. */
export function afterCursor<F extends string>(
  { by, descending, after }: Page<F>,
  columns: SortColumns<F>,
): SqlQuery {
  if (after === null) return sql`TRUE`
  const { [by]: column, id } = columns
  if (by === 'id') return descending ? sql`${id} < ${after.id}` : sql`${id} > ${after.id}`
  // The id orders rows with equal values, so that none is shown twice and none is left out.
  const place = sql`(${after.value}, ${after.id})`
  return descending ? sql`(${column}, ${id}) < ${place}` : sql`(${column}, ${id}) > ${place}`
}

/** Returns ORDER BY and LIMIT of the page. */
export function orderAndLimit<F extends string>(
  { by, descending, limit }: Page<F>,
  columns: SortColumns<F>,
): SqlQuery {
  const { [by]: column, id } = columns
  if (by === 'id')
    return descending ? sql`ORDER BY ${id} DESC LIMIT ${limit}` : sql`ORDER BY ${id} LIMIT ${limit}`
  return descending
    ? sql`ORDER BY ${column} DESC, ${id} DESC LIMIT ${limit}`
    : sql`ORDER BY ${column}, ${id} LIMIT ${limit}`
}

/** Joins the defined conditions by AND. */
export function conjunction(...conditions: readonly (SqlQuery | undefined)[]): SqlQuery {
  const given = conditions.filter((condition) => condition !== undefined)
  return given.reduce((all, condition) => sql`${all} AND ${condition}`, sql`TRUE`)
}
