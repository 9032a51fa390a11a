/** The types of tables that are declared once, for all of Knex: joins know them by name. */
import type { Knex } from 'knex'
import { Database } from 'millpond'
import { expectTypeOf } from 'expect-type'

interface User {
  id: number
  username: string
}
interface Post {
  id: number
  author_id: number
  title: string
}

declare module 'knex/types/tables.js' {
  interface Tables {
    users: User
    posts: Knex.CompositeTableType<Post, Omit<Post, 'id'>>
  }
}

const database = new Database('sqlite://')

export async function declared(): Promise<void> {
  expectTypeOf(await database.fetchAll(database.table('users'))).toEqualTypeOf<User[]>()
  expectTypeOf(await database.fetchOne(database.table('posts').select('title'))).toEqualTypeOf<{
    title: string
  } | null>()
  expectTypeOf(await database.fetchAll(database.knex('users').select('id'))).toEqualTypeOf<{ id: number }[]>()
  // @ts-expect-error -- no such table
  database.table('nope')
  // @ts-expect-error -- no such column
  await database.fetchAll(database.table('users').select('nope'))
  // @ts-expect-error -- the id is generated
  await database.executeMany(database.table('posts'), [{ id: 1, author_id: 1, title: 'Ducks' }])
  await database.executeMany(database.table('posts'), [{ author_id: 1, title: 'Ducks' }])
}

export async function joins(): Promise<void> {
  const join = database.table('users').join('posts', 'users.id', 'posts.author_id')
  expectTypeOf(await database.fetchAll(join.select('username', 'posts.title as post'))).toEqualTypeOf<
    { username: string; post: string }[]
  >()
  // @ts-expect-error -- in neither table
  await database.fetchAll(join.select('nope'))
}

/** The tables of one Database stand in place of those that are declared for all. */
export async function oneDatabase(products: Database<{ products: { sku: string } }>): Promise<void> {
  expectTypeOf(await products.fetchAll(products.table('products'))).toEqualTypeOf<{ sku: string }[]>()
  // @ts-expect-error -- a table of another Database
  products.table('users')
  const ping = (one: Database): Promise<void> => one.ping()
  await ping(products)
}
