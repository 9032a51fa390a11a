/** Queries on accounts and their balances. */
import { type Database, keyset, type KeysetPage } from '../../database'
import { given } from '../given'
import { insertRow } from '../insert-row'
import type { Page } from '../pagination'
import type { Row, Tables } from '../tables'

export interface Account {
  id: number
  owner: string
  /** In minor units. */
  balance: number
}

/** The largest balance: beyond it JSON numbers would lose units. */
export const LARGEST_BALANCE = Number.MAX_SAFE_INTEGER

const COLUMNS = ['id', 'owner', 'balance'] as const

type AccountRow = Pick<Row<'accounts'>, keyof Account>

function toAccount({ id, owner, balance }: AccountRow): Account {
  const exact = Number(balance)
  if (!Number.isSafeInteger(exact))
    throw new RangeError(`The balance of account ${id} is too large to be exact.`)
  return { id, owner, balance: exact }
}

/** There is no order by balance, because every transfer would have to change its index. */
export async function listAccounts(
  database: Database<Tables>,
  page: Page<'owner'>,
  { owner }: { readonly owner?: string | undefined } = {},
): Promise<KeysetPage<Account>> {
  const accounts = database
    .table('accounts')
    .select(...COLUMNS)
    .where(given({ owner }))
  const { rows, next } = await keyset(database, accounts, page)
  return { rows: rows.map(toAccount), next }
}

export async function findAccount(database: Database<Tables>, id: number): Promise<Account | null> {
  const account = database
    .table('accounts')
    .select(...COLUMNS)
    .where({ id })
  const row = await database.fetchOne(account)
  return row === null ? null : toAccount(row)
}

export async function createAccount(
  database: Database<Tables>,
  account: Omit<Account, 'id'>,
): Promise<Account> {
  const { owner, balance } = account
  const row = { owner, balance, opening_balance: balance }
  const insert = database.table('accounts').insert(row, COLUMNS)
  return toAccount(await insertRow<AccountRow>(database, insert))
}

/**
 * Adds `change`, which may be negative, to a balance. Changes nothing and returns false if the account does not exist, or if
 * the balance would be negative or above the largest one. In a transaction, the row stays locked until its end.
 */
export async function changeBalance(
  database: Database<Tables>,
  id: number,
  change: number,
): Promise<boolean> {
  const [least, most] = [Math.max(-change, 0), LARGEST_BALANCE - Math.max(change, 0)]
  // Check and change are one statement, so no other transaction can come between them.
  const update = database
    .table('accounts')
    .where({ id })
    .whereBetween('balance', [least, most])
    .increment('balance', change)
  const { rowCount } = await database.execute(update)
  return rowCount > 0
}
