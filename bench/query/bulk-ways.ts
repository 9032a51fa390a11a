/** What the ways to move many rows have in common. */
import { Database } from '../../src/database'

/** Does it, and returns how many rows there were. */
export type Bulk = (url: string, rows: number) => Promise<number>

export const INSERT = 'INSERT INTO numbers (id, name, amount) VALUES (:id, :name, :amount)'

/** Rows of one statement, where that can be chosen. */
export const BATCH = 1000

export function* made(rows: number) {
  for (let id = 0; id < rows; id += 1) yield { id, name: `row number ${id}`, amount: id % 1000 }
}

/** The same as they come from elsewhere. */
export async function* arriving(rows: number) {
  yield* made(rows)
}

export async function withDatabase(
  url: string,
  work: (database: Database) => Promise<number>,
): Promise<number> {
  const database = new Database(url, { statementTimeoutMillis: 0 })
  await database.connect()
  const count = await work(database)
  await database.disconnect()
  return count
}
