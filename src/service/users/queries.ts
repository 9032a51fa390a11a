/** Queries on users. */
import { type Queryable, sql } from '../../database'
import { afterCursor, conjunction, orderAndLimit } from '../keyset-sql'
import type { Page } from '../pagination'

export interface User {
  id: number
  username: string
  email: string
}

export interface UserFilter {
  readonly username?: string | undefined
  readonly email?: string | undefined
}

const ORDERS = { id: sql`id`, username: sql`username` }

export function listUsers(
  database: Queryable,
  page: Page<'username'>,
  { username, email }: UserFilter = {},
): Promise<User[]> {
  const wanted = conjunction(
    afterCursor(page, ORDERS),
    username === undefined ? undefined : sql`username = ${username}`,
    email === undefined ? undefined : sql`email = ${email}`,
  )
  return database.fetchAll<User>(
    sql`SELECT id, username, email FROM users WHERE ${wanted} ${orderAndLimit(page, ORDERS)}`,
  )
}

export function findUser(database: Queryable, id: number): Promise<User | null> {
  return database.fetchOne<User>('SELECT id, username, email FROM users WHERE id = :id', { id })
}

/** @throws UniqueViolationError when the username or the email is taken */
export async function createUser(database: Queryable, { username, email }: Omit<User, 'id'>): Promise<User> {
  const user = await database.fetchOne<User>(
    'INSERT INTO users (username, email) VALUES (:username, :email) RETURNING id, username, email',
    { username, email },
  )
  if (user === null) throw new Error('INSERT … RETURNING gave no row.')
  return user
}

/**
 * Changes the given fields, and returns the user, or null if there is none.
 *
 * @throws UniqueViolationError when the username or the email is taken
 */
export function changeUser(
  database: Queryable,
  id: number,
  changes: { username?: string | undefined; email?: string | undefined },
): Promise<User | null> {
  const { username = null, email = null } = changes
  return database.fetchOne<User>(
    `UPDATE users SET username = COALESCE(:username, username), email = COALESCE(:email, email)
     WHERE id = :id RETURNING id, username, email`,
    { id, username, email },
  )
}

/** Deletes a user together with their posts, and returns whether there was such a user. */
export async function deleteUser(database: Queryable, id: number): Promise<boolean> {
  const { rowCount } = await database.execute('DELETE FROM users WHERE id = :id', { id })
  return rowCount > 0
}
