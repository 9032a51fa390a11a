/** Queries on users. */
import { type Database, keyset, type KeysetPage } from '../../database'
import { given } from '../given'
import { insertRow } from '../insert-row'
import type { Page } from '../pagination'
import type { NewRow, Row, Tables } from '../tables'

export type User = Pick<Row<'users'>, 'id' | 'username' | 'email'>

export interface UserFilter {
  readonly username?: string | undefined
  readonly email?: string | undefined
}

const COLUMNS = ['id', 'username', 'email'] as const

export function listUsers(
  database: Database<Tables>,
  page: Page<'username'>,
  { username, email }: UserFilter = {},
): Promise<KeysetPage<User>> {
  const users = database
    .table('users')
    .select(...COLUMNS)
    .where(given({ username, email }))
  return keyset(database, users, page)
}

export function findUser(database: Database<Tables>, id: number): Promise<User | null> {
  return database.fetchOne(
    database
      .table('users')
      .select(...COLUMNS)
      .where({ id }),
  )
}

/** @throws UniqueViolationError when the username or the email is taken */
export function createUser(database: Database<Tables>, { username, email }: NewRow<'users'>): Promise<User> {
  return insertRow(database, database.table('users').insert({ username, email }, COLUMNS))
}

/**
 * Changes the given fields, and returns the user, or null if there is none.
 *
 * @throws UniqueViolationError when the username or the email is taken
 */
export function changeUser(
  database: Database<Tables>,
  id: number,
  { username, email }: UserFilter,
): Promise<User | null> {
  const changes = given({ username, email })
  return database.fetchOne(database.table('users').where({ id }).update(changes, COLUMNS))
}

/** Deletes a user together with their posts, and returns whether there was such a user. */
export async function deleteUser(database: Database<Tables>, id: number): Promise<boolean> {
  const { rowCount } = await database.execute(database.table('users').where({ id }).delete())
  return rowCount > 0
}
