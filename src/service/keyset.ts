/** Keyset pagination in queries: finds the rows after a place in an order by an index, not by counting. */
import type { Knex } from 'knex'
import type { Page } from './pagination'

/** Restricts a query to a page. `table` is for columns that have the same name in two tables of the query. */
export function onPage<Q extends Knex.QueryBuilder>(query: Q, page: Page<string>, table?: string): Q {
  const { by, descending, after } = page
  const operator = descending ? '<' : '>'
  if (after !== null && by === 'id') query.where(column('id', table), operator, after.id)
  if (after !== null && by !== 'id') {
    // The id orders rows with equal values, so that none is shown twice and none is left out. Raw, because the builder has no
    // comparison of rows; that of columns one by one, joined by OR, would not be read off the index.
    query.whereRaw(`(??, ??) ${operator} (?, ?)`, [
      column(by, table),
      column('id', table),
      after.value,
      after.id,
    ])
  }
  return inOrder(query, page, table)
}

/** Gives a query the order and the limit of a page. */
export function inOrder<Q extends Knex.QueryBuilder>(
  query: Q,
  { by, descending, limit }: Page<string>,
  table?: string,
): Q {
  const direction = descending ? 'desc' : 'asc'
  if (by !== 'id') query.orderBy(column(by, table), direction)
  query.orderBy(column('id', table), direction).limit(limit)
  return query
}

function column(name: string, table: string | undefined): string {
  return table === undefined ? name : `${table}.${name}`
}
