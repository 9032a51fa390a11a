/** Pages in SQL: the rows after a place in an order, found by an index and not by counting. */
import { sql, type SqlQuery } from '../database'
import type { Page } from './pagination'

/** The columns that a list can be sorted by, as SQL. */
export type Columns<F extends string> = Readonly<Record<F | 'id', SqlQuery>>

/** The condition for rows to come after the place where the page begins. */
export function afterPlace<F extends string>(
  { by, descending, after }: Page<F>,
  columns: Columns<F>,
): SqlQuery {
  if (after === null) return sql`TRUE`
  const { [by]: column, id } = columns
  if (by === 'id') return descending ? sql`${id} < ${after.id}` : sql`${id} > ${after.id}`
  // The id tells rows apart whose values are equal, so that none is shown twice and none is left out.
  const place = sql`(${after.value}, ${after.id})`
  return descending ? sql`(${column}, ${id}) < ${place}` : sql`(${column}, ${id}) > ${place}`
}

/** ORDER BY and LIMIT. */
export function inOrder<F extends string>({ by, descending, limit }: Page<F>, columns: Columns<F>): SqlQuery {
  const { [by]: column, id } = columns
  if (by === 'id')
    return descending ? sql`ORDER BY ${id} DESC LIMIT ${limit}` : sql`ORDER BY ${id} LIMIT ${limit}`
  return descending
    ? sql`ORDER BY ${column} DESC, ${id} DESC LIMIT ${limit}`
    : sql`ORDER BY ${column}, ${id} LIMIT ${limit}`
}

/** All of the conditions that there are. */
export function allOf(...conditions: readonly (SqlQuery | undefined)[]): SqlQuery {
  const given = conditions.filter((condition) => condition !== undefined)
  return given.reduce((all, condition) => sql`${all} AND ${condition}`, sql`TRUE`)
}
