/** Queries on the history of transfers, to which rows are only added. */
import type { Knex } from 'knex'
import { type Database, keyset, type KeysetPage } from '../../database'
import type { Page } from '../pagination'
import type { Row, Tables } from '../tables'

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

const COLUMNS = ['id', 'from_account', 'to_account', 'amount', 'created_at'] as const

type TransferRow = Pick<Row<'transfers'>, keyof Transfer>

function toTransfer({ id, amount, created_at, ...accounts }: TransferRow): Transfer {
  // SQLite returns text in UTC.
  const moment = typeof created_at === 'string' ? new Date(`${created_at.replace(' ', 'T')}Z`) : created_at
  return { id: Number(id), ...accounts, amount: Number(amount), created_at: moment.toISOString() }
}

export async function recordTransfer(
  database: Database<Tables>,
  { from, to, amount }: Movement,
): Promise<void> {
  const row = { from_account: from, to_account: to, amount }
  await database.execute(database.table('transfers').insert(row))
}

export async function findTransfer(database: Database<Tables>, id: number): Promise<Transfer | null> {
  const transfer = database
    .table('transfers')
    .select(...COLUMNS)
    .where({ id })
  const row = await database.fetchOne(transfer)
  return row === null ? null : toTransfer(row)
}

/** Returns the transfers from and to an account. */
export async function listTransfersOf(
  database: Database<Tables>,
  account: number,
  page: Page,
): Promise<KeysetPage<Transfer>> {
  const [from] = page.after ?? []
  const operator = page.orderBy[0]?.order === 'desc' ? '<' : '>'
  // Not `from_account = … OR to_account = …`, which would read and sort the account's whole history for each page. So would
  // PostgreSQL do with a union whose parts have no order and limit of their own.
  const half = (side: 'from_account' | 'to_account'): Knex.QueryBuilder => {
    const transfers = database
      .table('transfers')
      .select(...COLUMNS)
      .where({ [side]: account })
      .orderBy([...page.orderBy])
      .limit(page.limit + 1)
    if (from !== undefined) transfers.where('id', operator, from)
    // In a query of its own, since SQLite knows no LIMIT of a part of a UNION.
    return database.knex.select('*').from(transfers.as('half'))
  }
  const both = half('from_account').unionAll(half('to_account'))
  const { rows, next } = await keyset<TransferRow>(
    database,
    database.knex.select('*').from(both.as('both')),
    page,
  )
  return { rows: rows.map(toTransfer), next }
}
