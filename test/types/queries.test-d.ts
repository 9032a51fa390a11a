/** The types of queries without declared tables: text, templates, and builders of unknown tables. */
import type { Knex } from 'knex'
import { Database, sql, type Query, type Queryable, type Row } from 'millpond'
import { expectTypeOf } from 'expect-type'

interface User {
  id: number
  username: string
}

const database = new Database('sqlite://')
declare const queryable: Queryable
declare const query: Query

export async function textAndTemplates(): Promise<void> {
  expectTypeOf(await database.fetchAll('SELECT 1')).toEqualTypeOf<Row[]>()
  expectTypeOf(await database.fetchAll<User>('SELECT 1')).toEqualTypeOf<User[]>()
  expectTypeOf(await database.fetchAll<User>('SELECT :id', { id: 1 }, { timeoutMillis: 5 })).toEqualTypeOf<
    User[]
  >()
  expectTypeOf(await database.fetchOne<User>(sql`SELECT ${1}`)).toEqualTypeOf<User | null>()
  expectTypeOf(await database.fetchVal('SELECT 1')).toBeUnknown()
  expectTypeOf(await database.fetchVal<number>('SELECT 1')).toEqualTypeOf<number | null>()
  expectTypeOf(await database.fetchVal<number>('SELECT 1', {}, { column: 'n' })).toEqualTypeOf<
    number | null
  >()
  expectTypeOf(database.iterate<User>(sql`SELECT 1`)).toEqualTypeOf<AsyncIterableIterator<User>>()
  expectTypeOf(await queryable.fetchAll(query)).toEqualTypeOf<Row[]>()
  expectTypeOf(await queryable.fetchAll<User>(query)).toEqualTypeOf<User[]>()
  expectTypeOf(await queryable.fetchVal<number>(query)).toEqualTypeOf<number | null>()
  // @ts-expect-error -- a claimed row is an object
  await database.fetchAll<number>('SELECT 1')
  // @ts-expect-error -- no query
  await database.fetchAll(1)
  // @ts-expect-error -- no such option
  await database.fetchAll('SELECT 1', {}, { timeout: 1 })
}

/** What a function promises to return is claimed without a word. */
export const claimed = {
  all: (): Promise<User[]> => database.fetchAll('SELECT 1'),
  one: (): Promise<User | null> => queryable.fetchOne(sql`SELECT 1`),
  value: (): Promise<number | null> => database.fetchVal('SELECT 1'),
  ofBuilder: (): Promise<User[]> => database.fetchAll(database.table('users').select('id')),
  ofUnion: (): Promise<User[]> => database.fetchAll(query),
}

export async function unknownTables(): Promise<void> {
  expectTypeOf(database.table('users')).toEqualTypeOf<Knex.QueryBuilder>()
  expectTypeOf(await database.table('users')).toBeAny()
  const name: string = 'users'
  expectTypeOf(await database.fetchAll(database.table(name))).toEqualTypeOf<Row[]>()
  expectTypeOf(
    await database.fetchAll(database.table('users').select('id', 'u.x').where('y', 1)),
  ).toEqualTypeOf<Row[]>()
  expectTypeOf(await database.fetchOne(database.table('users').first())).toEqualTypeOf<Row | null>()
  expectTypeOf(await database.fetchVal(database.table('users').select('id'))).toBeUnknown()
  expectTypeOf(await database.fetchVal<number>(database.table('users'), {}, { column: 'id' })).toEqualTypeOf<
    number | null
  >()
  expectTypeOf(await database.fetchAll<User>(database.table('users'))).toEqualTypeOf<User[]>()
  expectTypeOf(await database.fetchAll(database.table<User>('users'))).toEqualTypeOf<User[]>()
  expectTypeOf(await database.table<User>('users').select('id')).toEqualTypeOf<Pick<User, 'id'>[]>()
  await database.executeMany(database.table('users'), [{ anything: 1 }])
  await database.executeMany(database.table<User>('users'), [{ id: 1 }])
  // @ts-expect-error -- no such column
  await database.executeMany(database.table<User>('users'), [{ nope: 1 }])
}
