/** The types of a Database with declared tables: what its builders take, and the rows that the query methods give. */
import type { Knex } from 'knex'
import {
  Database,
  keyset,
  type Connection,
  type KeysetPage,
  type Queryable,
  type Row,
  type Transaction,
} from 'millpond'
import { expectTypeOf } from 'expect-type'

interface User {
  id: number
  username: string
  email: string | null
}
interface Post {
  id: number
  author_id: number
  title: string
  likes: number
  tags: string[]
  payload: unknown
  at: Date
}
interface NewPost {
  author_id: number
  title: string
  likes?: number
  tags?: string[]
  payload?: unknown
  at?: Date
}
interface Tables {
  users: User
  posts: Knex.CompositeTableType<Post, NewPost, Partial<Omit<NewPost, 'author_id'>>>
  'audit.events': { id: string; kind: 'signup' | 'login' }
}

declare const database: Database<Tables>
declare const queryable: Queryable
declare const connection: Connection
declare const transaction: Transaction
/** Exported, so that a program that writes declarations of its own must be able to name their types. */
export const users = () => database.table('users')
export const posts = () => database.table('posts')

export async function tables(): Promise<void> {
  expectTypeOf(new Database<Tables>('sqlite://')).toEqualTypeOf<Database<Tables>>()
  users()
  database.table('audit.events')
  // @ts-expect-error -- no such table
  database.table('nope')
  // @ts-expect-error -- no such table
  database.table('nope as n')
  expectTypeOf(await database.fetchAll(database.table('audit.events'))).toEqualTypeOf<
    Tables['audit.events'][]
  >()
  // Out of the tables: a claimed row, and Knex itself.
  expectTypeOf(await database.fetchAll(database.table<{ n: number }>('elsewhere'))).toEqualTypeOf<
    { n: number }[]
  >()
  expectTypeOf(await database.fetchAll(database.knex<User>('users'))).toEqualTypeOf<User[]>()
  expectTypeOf(await database.fetchAll(database.knex('users').select('id'))).toEqualTypeOf<Row[]>()
}

export async function wholeRows(): Promise<void> {
  expectTypeOf(await database.fetchAll(users())).toEqualTypeOf<User[]>()
  expectTypeOf(await database.fetchOne(users())).toEqualTypeOf<User | null>()
  expectTypeOf(database.iterate(users())).toEqualTypeOf<AsyncIterableIterator<User>>()
  for await (const user of database.iterate(users().where({ id: 1 })))
    expectTypeOf(user).toEqualTypeOf<User>()
  expectTypeOf(await database.fetchAll(posts())).toEqualTypeOf<Post[]>()
  expectTypeOf(await database.fetchAll(users().select())).toEqualTypeOf<User[]>()
  expectTypeOf(await database.fetchAll(users().select('*'))).toEqualTypeOf<User[]>()
  expectTypeOf(await database.fetchAll(posts().select('posts.*'))).toEqualTypeOf<Post[]>()
  expectTypeOf(await database.fetchAll(users().where('id', '>', 1).orderBy('id').limit(2))).toEqualTypeOf<
    User[]
  >()
}

export async function selectedColumns(): Promise<void> {
  expectTypeOf(await database.fetchAll(users().select('id'))).toEqualTypeOf<{ id: number }[]>()
  expectTypeOf(await database.fetchAll(users().select('id', 'email'))).toEqualTypeOf<
    { id: number; email: string | null }[]
  >()
  expectTypeOf(await database.fetchAll(users().select(['id', 'email']))).toEqualTypeOf<
    { id: number; email: string | null }[]
  >()
  expectTypeOf(await database.fetchAll(users().select('id').select('username'))).toEqualTypeOf<
    { id: number; username: string }[]
  >()
  expectTypeOf(await database.fetchAll(users().select('users.id', 'username'))).toEqualTypeOf<
    { id: number; username: string }[]
  >()
  expectTypeOf(await database.fetchAll(posts().select('title', 'payload', 'at'))).toEqualTypeOf<
    { title: string; payload: unknown; at: Date }[]
  >()
  expectTypeOf(await database.fetchAll(posts().distinct('author_id'))).toEqualTypeOf<
    { author_id: number }[]
  >()
  expectTypeOf(await database.fetchAll(posts().select('id').clearSelect())).toEqualTypeOf<Post[]>()
  // @ts-expect-error -- no such column
  await database.fetchAll(users().select('nope'))
  // @ts-expect-error -- no such column
  await database.fetchAll(users().select('id', 'users.nope'))
  // @ts-expect-error -- no such column
  await database.fetchOne(posts().select('id', 'nope as id'))
  // @ts-expect-error -- no such column
  await database.fetchVal(users().select('nope'))
  // @ts-expect-error -- no such column
  database.iterate(posts().first('nope'))
  // @ts-expect-error -- the column was not selected
  for (const user of await database.fetchAll(users().select('id'))) void user.email
}

export const names = () => database.fetchAll(users().select('users.id as user', 'username'))

export async function aliases(): Promise<void> {
  expectTypeOf(await database.fetchAll(users().select({ user: 'id', mail: 'email' }))).toEqualTypeOf<
    { user: number; mail: string | null }[]
  >()
  expectTypeOf(await database.fetchAll(users().select('id', { name: 'username' }))).toEqualTypeOf<
    { id: number; name: string }[]
  >()
  expectTypeOf(await database.fetchAll(users().select('users.id as user', 'username'))).toEqualTypeOf<
    { user: number; username: string }[]
  >()
  expectTypeOf(await database.fetchAll(users().select(database.knex.ref('id').as('user')))).toEqualTypeOf<
    { user: number }[]
  >()
  expectTypeOf(await database.fetchAll(database.table('users as u').select('u.username'))).toEqualTypeOf<
    { username: string }[]
  >()
}

export async function pieces(): Promise<void> {
  const row = await database.fetchOne(users().select('id', database.knex.raw('length(username) as size')))
  expectTypeOf(row?.id).toEqualTypeOf<number | undefined>()
  expectTypeOf(row?.['size']).toBeUnknown()
  expectTypeOf(await database.fetchAll(users().select(posts().count()))).toEqualTypeOf<Row[]>()
  expectTypeOf(await database.fetchAll(database.knex.raw('select 1'))).toEqualTypeOf<Row[]>()
  expectTypeOf(await database.fetchAll(database.knex.raw<User[]>('select 1'))).toEqualTypeOf<User[]>()
  expectTypeOf(await database.fetchAll<User>(database.knex.raw('select 1'))).toEqualTypeOf<User[]>()
}

export async function joins(): Promise<void> {
  const join = users().join<Tables['posts']>('posts', 'posts.author_id', 'users.id')
  expectTypeOf(await database.fetchAll(join.select('title', 'username'))).toEqualTypeOf<
    { title: string; username: string }[]
  >()
  expectTypeOf(await database.fetchAll(join.select('posts.id as post', 'users.username'))).toEqualTypeOf<
    { post: number; username: string }[]
  >()
  expectTypeOf(await database.fetchAll(join.select({ post: 'title' }))).toEqualTypeOf<{ post: string }[]>()
  // @ts-expect-error -- in neither table
  await database.fetchAll(join.select('posts.nope'))
  const other = posts().leftJoin<User>('users', 'posts.author_id', '=', 'users.id')
  expectTypeOf(await database.fetchAll(other.select('title', 'email'))).toEqualTypeOf<
    { title: string; email: string | null }[]
  >()
  // Knex does not know the tables of one Database: a join that does not name its table has rows of any columns.
  const untyped = users().join('posts', 'posts.author_id', 'users.id').select('title')
  expectTypeOf(await database.fetchAll(untyped)).toEqualTypeOf<Row[]>()
  expectTypeOf(await database.fetchAll<Pick<Post, 'title'>>(untyped)).toEqualTypeOf<Pick<Post, 'title'>[]>()
}

export async function first(): Promise<void> {
  expectTypeOf(await users().first()).toEqualTypeOf<User | undefined>()
  expectTypeOf(await database.fetchOne(users().first())).toEqualTypeOf<User | null>()
  expectTypeOf(await database.fetchOne(users().first('id'))).toEqualTypeOf<{ id: number } | null>()
  expectTypeOf(await database.fetchAll(posts().first('id', 'title'))).toEqualTypeOf<
    { id: number; title: string }[]
  >()
}

export async function plucked(): Promise<void> {
  expectTypeOf(await users().pluck('id')).toEqualTypeOf<number[]>()
  expectTypeOf(await database.fetchVal(users().pluck('email'))).toEqualTypeOf<string | null>()
  expectTypeOf(await database.fetchVal(posts().pluck('tags'))).toEqualTypeOf<string[] | null>()
  // The query methods give rows, whatever an awaited builder resolves to.
  expectTypeOf(await database.fetchAll(users().pluck('id'))).toEqualTypeOf<Row[]>()
  expectTypeOf(await database.fetchAll(posts().pluck('at'))).toEqualTypeOf<Row[]>()
}

export async function values(): Promise<void> {
  expectTypeOf(await database.fetchVal(users().select('username'))).toEqualTypeOf<string | null>()
  expectTypeOf(await database.fetchVal(users().select('id', 'username'))).toEqualTypeOf<
    number | string | null
  >()
  expectTypeOf(await database.fetchVal(users(), {}, { column: 'id' })).toEqualTypeOf<number | null>()
  expectTypeOf(await database.fetchVal(users().select('id'), {}, { column: 0 })).toEqualTypeOf<
    number | null
  >()
  expectTypeOf(await database.fetchVal<bigint>(users().select('id'))).toEqualTypeOf<bigint | null>()
  // @ts-expect-error -- no such column
  await database.fetchVal(users(), {}, { column: 'nope' })
  // @ts-expect-error -- not selected
  await database.fetchVal(users().select('id'), {}, { column: 'email' })
}

export async function aggregates(): Promise<void> {
  expectTypeOf(await database.fetchVal(users().count())).toEqualTypeOf<number | string | null>()
  expectTypeOf(await database.fetchOne(users().count({ n: '*' }))).toEqualTypeOf<{
    n: number | string
  } | null>()
  expectTypeOf(await database.fetchOne(users().count('id', { as: 'n' }))).toEqualTypeOf<{
    n: number | string
  } | null>()
  expectTypeOf(
    await database.fetchAll(posts().select('author_id').count({ n: '*' }).groupBy('author_id')),
  ).toEqualTypeOf<{ author_id: number; n: number | string }[]>()
  expectTypeOf(await database.fetchOne(posts().max('likes', { as: 'most' }))).toEqualTypeOf<{
    most: number
  } | null>()
  // Knex's types lose the alias of a string.
  expectTypeOf(await database.fetchAll(users().count('* as n'))).toEqualTypeOf<Row[]>()
}

export async function changes(): Promise<void> {
  const post = { author_id: 1, title: 'Ducks' }
  expectTypeOf(await database.fetchOne(posts().insert(post).returning('*'))).toEqualTypeOf<Post | null>()
  expectTypeOf(await database.fetchVal(posts().insert(post).returning('id'))).toEqualTypeOf<number | null>()
  expectTypeOf(await database.fetchOne(posts().insert(post, ['id', 'likes']))).toEqualTypeOf<{
    id: number
    likes: number
  } | null>()
  expectTypeOf(
    await database.fetchAll(posts().insert([post, post]).returning(['id', 'title'])),
  ).toEqualTypeOf<{ id: number; title: string }[]>()
  expectTypeOf(await database.fetchAll(posts().update({ likes: 1 }).returning('id'))).toEqualTypeOf<
    { id: number }[]
  >()
  expectTypeOf(await database.fetchAll(posts().where({ id: 1 }).del().returning('title'))).toEqualTypeOf<
    { title: string }[]
  >()
  expectTypeOf(await database.fetchAll(users().where({ id: 1 }).delete(['id']))).toEqualTypeOf<
    { id: number }[]
  >()
  expectTypeOf(
    await database.fetchOne(posts().insert(post).onConflict('id').merge(['title']).returning('*')),
  ).toEqualTypeOf<Post | null>()
  expectTypeOf(await database.execute(posts().where({ id: 1 }).increment('likes'))).toHaveProperty('rowCount')
  // @ts-expect-error -- no such column
  posts().insert({ ...post, nope: 1 })
  // @ts-expect-error -- title has no default
  posts().insert({ author_id: 1 })
  // @ts-expect-error -- the id is generated
  posts().insert({ id: 1, ...post })
  // @ts-expect-error -- never changed
  posts().update({ author_id: 2 })
  // @ts-expect-error -- not a string
  users().update({ username: 1 })
  // @ts-expect-error -- no such column
  users().where({ nope: 1 })
  // @ts-expect-error -- not a number
  users().where({ id: 'one' })
}

export async function manySets(): Promise<void> {
  expectTypeOf(await database.executeMany(posts(), [{ author_id: 1, title: 'Ducks' }])).toEqualTypeOf<{
    rowCount: number
  }>()
  await database.executeMany(users(), new Set([{ id: 1, username: 'ada', email: null }]))
  await database.executeMany(users(), [{ username: 'ada' }])
  await database.executeMany(
    posts(),
    (async function* () {
      yield { author_id: 1, title: 'Ducks', likes: 2 }
    })(),
  )
  await database.executeMany('INSERT INTO users (username) VALUES (:username)', [{ username: 'ada' }])
  // @ts-expect-error -- no such column
  await database.executeMany(posts(), [{ author_id: 1, title: 'Ducks', nope: 1 }])
  // @ts-expect-error -- not a string
  await database.executeMany(users(), [{ username: 1 }])
  // @ts-expect-error -- title has no default
  await database.executeMany(posts(), [{ author_id: 1 }])
  // @ts-expect-error -- the id is generated
  await transaction.executeMany(posts(), [{ id: 1, author_id: 1, title: 'Ducks' }])
}

/** A function of the caller's, which leaves the transaction to whoever calls it. */
async function titlesOf(on: Queryable, author: number): Promise<{ id: number; title: string }[]> {
  return on.fetchAll(posts().where({ author_id: author }).select('id', 'title'))
}

export async function everyQueryable(): Promise<void> {
  expectTypeOf(await queryable.fetchAll(users())).toEqualTypeOf<User[]>()
  expectTypeOf(await connection.fetchOne(users().select('id'))).toEqualTypeOf<{ id: number } | null>()
  expectTypeOf(await transaction.fetchVal(users().select('email'))).toEqualTypeOf<string | null>()
  expectTypeOf(transaction.iterate(posts())).toEqualTypeOf<AsyncIterableIterator<Post>>()
  expectTypeOf(await database.transaction((tx) => tx.fetchAll(users()))).toEqualTypeOf<User[]>()
  expectTypeOf(await database.connection((held) => held.fetchOne(posts()))).toEqualTypeOf<Post | null>()
  expectTypeOf(
    await database.transactional((id: number) => database.fetchOne(users().where({ id })))(1),
  ).toEqualTypeOf<User | null>()
  await titlesOf(database, 1)
  await database.transaction((tx) => titlesOf(tx, 1))
  // @ts-expect-error -- the rows are numbers, not texts
  const names: { id: string }[] = await queryable.fetchAll(users().select('id'))
  void names
}

export async function pages(): Promise<void> {
  const page = await keyset(database, posts().select('id', 'title').where({ author_id: 1 }), {
    // Also by what is not selected.
    orderBy: ['likes', { column: 'posts.at', order: 'desc' }, { column: 'id', nulls: 'last' }],
    limit: 10,
  })
  expectTypeOf(page).toEqualTypeOf<KeysetPage<{ id: number; title: string }>>()
  expectTypeOf(page.next).toEqualTypeOf<string | null>()
  const after = page.next
  expectTypeOf(
    (await keyset(transaction, users(), { orderBy: ['id'], limit: 10, after })).rows,
  ).toEqualTypeOf<User[]>()
  await keyset(database, users(), {
    orderBy: [{ column: 'email', nulls: 'first' }, 'id'],
    limit: 10,
    after: [null, 1],
  })
  // @ts-expect-error -- no such column
  await keyset(database, users(), { orderBy: ['nope'], limit: 10 })
  // @ts-expect-error -- no such column
  await keyset(database, users(), { orderBy: ['id', { column: 'users.nope' }], limit: 10 })
  // @ts-expect-error -- NULLs of email must have a place
  await keyset(database, users(), { orderBy: ['email', 'id'], limit: 10 })
  // @ts-expect-error -- NULLs of email must have a place
  await keyset(database, users(), { orderBy: [{ column: 'users.email', order: 'desc' }, 'id'], limit: 10 })
  // @ts-expect-error -- no direction
  await keyset(database, users(), { orderBy: [{ column: 'id', order: 'up' }], limit: 10 })
  // @ts-expect-error -- no such column is selected
  await keyset(database, users().select('nope'), { orderBy: ['id'], limit: 10 })
  const join = users()
    .join<Tables['posts']>('posts', 'posts.author_id', 'users.id')
    .select('title', 'username')
  const joined = await keyset(database, join, { orderBy: ['posts.title', 'posts.id'], limit: 10 })
  expectTypeOf(joined.rows).toEqualTypeOf<{ title: string; username: string }[]>()
  // Of tables that are not declared: any column, and rows that are claimed.
  const untyped = await keyset<{ n: number }>(database, database.knex('elsewhere'), {
    orderBy: ['n'],
    limit: 10,
  })
  expectTypeOf(untyped.rows).toEqualTypeOf<{ n: number }[]>()
  expectTypeOf(
    (await keyset(database, database.knex('elsewhere'), { orderBy: ['n'], limit: 10 })).rows,
  ).toEqualTypeOf<Row[]>()
}

export function anyDatabase(untyped: Database, others: Database<{ products: { sku: string } }>): void {
  const ping = (one: Database): Promise<void> => one.ping()
  void ping(database)
  void ping(others)
  expectTypeOf<Database<Tables>>().toExtend<Queryable>()
  const typed: Database<Tables> = untyped
  void typed
  // @ts-expect-error -- a Database of other tables
  const wrong: Database<Tables> = others
  void wrong
}
