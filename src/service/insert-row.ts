/** Runs an INSERT of one row with RETURNING. */
import type { Knex } from 'knex'
import type { Queryable } from '../database'

/** Inserts a row, and returns it as it was stored. */
export async function insertRow<R extends object>(
  database: Queryable,
  insert: Knex.QueryBuilder,
): Promise<R> {
  const row = await database.fetchOne<R>(insert)
  if (row === null) throw new Error('INSERT … RETURNING gave no row.')
  return row
}
