/** Queries on the history of transfers, to which rows are only added. */
import { type Queryable, sql, type SqlQuery } from '../../database'
import { afterCursor, orderAndLimit } from '../keyset-sql'
import type { Page } from '../pagination'

export interface Transfer {
  id: number
  from_account: number
  to_account: number
  /** In minor units. */
  amount: number
  created_at: string
}

export interface Movement {
  readonly from: number
  readonly to: number
  readonly amount: number
}

/** PostgreSQL returns a bigint as text and a timestamp as a Date; SQLite returns a number, and text in UTC. */
interface TransferRow {
  id: number | string
  from_account: number
  to_account: number
  amount: number | string
  created_at: Date | string
}

function toTransfer({ id, amount, created_at, ...accounts }: TransferRow): Transfer {
  const moment = typeof created_at === 'string' ? new Date(`${created_at.replace(' ', 'T')}Z`) : created_at
  return { id: Number(id), ...accounts, amount: Number(amount), created_at: moment.toISOString() }
}

export async function recordTransfer(database: Queryable, { from, to, amount }: Movement): Promise<void> {
  await database.execute(
    'INSERT INTO transfers (from_account, to_account, amount) VALUES (:from, :to, :amount)',
    { from, to, amount },
  )
}

export async function findTransfer(database: Queryable, id: number): Promise<Transfer | null> {
  const row = await database.fetchOne<TransferRow>(
    'SELECT id, from_account, to_account, amount, created_at FROM transfers WHERE id = :id',
    { id },
  )
  return row === null ? null : toTransfer(row)
}

const ORDERS = { id: sql`id` }

/** Returns the transfers from and to an account. */
export async function listTransfersOf(database: Queryable, account: number, page: Page): Promise<Transfer[]> {
  // Not `from_account = … OR to_account = …`, which would read and sort the account's whole history for each page.
  const half = (side: SqlQuery): SqlQuery =>
    sql`SELECT * FROM (
          SELECT id, from_account, to_account, amount, created_at FROM transfers
          WHERE ${side} = ${account} AND ${afterCursor(page, ORDERS)} ${orderAndLimit(page, ORDERS)}
        ) AS half`
  const rows = await database.fetchAll<TransferRow>(
    sql`${half(sql`from_account`)} UNION ALL ${half(sql`to_account`)} ${orderAndLimit(page, ORDERS)}`,
  )
  return rows.map(toTransfer)
}
