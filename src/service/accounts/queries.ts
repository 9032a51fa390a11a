/** The accounts in the database, and their balances. */
import { type Queryable, sql } from '../../database'
import { afterPlace, allOf, inOrder } from '../keyset-sql'
import type { Page } from '../pagination'

export interface Account {
  id: number
  owner: string
  /** In minor units. */
  balance: number
}

/** PostgreSQL gives a bigint as text, because a number might not hold it. */
interface AccountRow {
  id: number
  owner: string
  balance: number | string
}

/** The largest balance: from here on JSON numbers would lose units. */
export const LARGEST_BALANCE = Number.MAX_SAFE_INTEGER

function toAccount({ id, owner, balance }: AccountRow): Account {
  const exact = Number(balance)
  if (!Number.isSafeInteger(exact))
    throw new RangeError(`The balance of account ${id} is too large to be exact.`)
  return { id, owner, balance: exact }
}

/** Not by balance: an index of it would have to be changed by every transfer. */
const ORDERS = { id: sql`id`, owner: sql`owner` }

export async function listAccounts(
  database: Queryable,
  page: Page<'owner'>,
  { owner }: { readonly owner?: string | undefined } = {},
): Promise<Account[]> {
  const wanted = allOf(afterPlace(page, ORDERS), owner === undefined ? undefined : sql`owner = ${owner}`)
  const rows = await database.fetchAll<AccountRow>(
    sql`SELECT id, owner, balance FROM accounts WHERE ${wanted} ${inOrder(page, ORDERS)}`,
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
 * Adds to a balance, or takes from it, unless that would leave it below zero or above the largest balance, or there
 * is no such account: then it changes nothing and returns false. In a transaction, the row stays locked to its end.
 */
export async function changeBalance(database: Queryable, id: number, change: number): Promise<boolean> {
  // The check and the change are one statement, so no other transaction comes between them.
  const { rowCount } = await database.execute(
    `UPDATE accounts SET balance = balance + :change
     WHERE id = :id AND balance BETWEEN :least AND :most`,
    { id, change, least: Math.max(-change, 0), most: LARGEST_BALANCE - Math.max(change, 0) },
  )
  return rowCount > 0
}
