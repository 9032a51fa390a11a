/** Queries on accounts and their balances. */
import { type Queryable, sql } from '../../database'
import { afterCursor, conjunction, orderAndLimit } from '../keyset-sql'
import type { Page } from '../pagination'

export interface Account {
  id: number
  owner: string
  /** In minor units. */
  balance: number
}

/** PostgreSQL returns a bigint as text, because a number might not hold it. */
interface AccountRow {
  id: number
  owner: string
  balance: number | string
}

/** The largest balance: beyond it JSON numbers would lose units. */
export const LARGEST_BALANCE = Number.MAX_SAFE_INTEGER

function toAccount({ id, owner, balance }: AccountRow): Account {
  const exact = Number(balance)
  if (!Number.isSafeInteger(exact))
    throw new RangeError(`The balance of account ${id} is too large to be exact.`)
  return { id, owner, balance: exact }
}

/** There is no order by balance, because every transfer would have to change its index. */
const ORDERS = { id: sql`id`, owner: sql`owner` }

export async function listAccounts(
  database: Queryable,
  page: Page<'owner'>,
  { owner }: { readonly owner?: string | undefined } = {},
): Promise<Account[]> {
  const wanted = conjunction(
    afterCursor(page, ORDERS),
    owner === undefined ? undefined : sql`owner = ${owner}`,
  )
  const rows = await database.fetchAll<AccountRow>(
    sql`SELECT id, owner, balance FROM accounts WHERE ${wanted} ${orderAndLimit(page, ORDERS)}`,
  )
  return rows.map(toAccount)
}

export async function findAccount(database: Queryable, id: number): Promise<Account | null> {
  const row = await database.fetchOne<AccountRow>('SELECT id, owner, balance FROM accounts WHERE id = :id', {
    id,
  })
  return row === null ? null : toAccount(row)
}

export async function createAccount(database: Queryable, account: Omit<Account, 'id'>): Promise<Account> {
  const { owner, balance } = account
  const row = await database.fetchOne<AccountRow>(
    `INSERT INTO accounts (owner, balance, opening_balance) VALUES (:owner, :balance, :balance)
     RETURNING id, owner, balance`,
    { owner, balance },
  )
  if (row === null) throw new Error('INSERT … RETURNING gave no row.')
  return toAccount(row)
}

/**
 * Adds `change`, which may be negative, to a balance. Changes nothing and returns false if the account does not exist, or if
 * the balance would be negative or above the largest one. In a transaction, the row stays locked until its end.
 */
export async function changeBalance(database: Queryable, id: number, change: number): Promise<boolean> {
  // Check and change are one statement, so no other transaction can come between them.
  const { rowCount } = await database.execute(
    `UPDATE accounts SET balance = balance + :change
     WHERE id = :id AND balance BETWEEN :least AND :most`,
    { id, change, least: Math.max(-change, 0), most: LARGEST_BALANCE - Math.max(change, 0) },
  )
  return rowCount > 0
}
