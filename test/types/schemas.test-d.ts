/** The types of queries with a schema: what the schema gives, for each query method. */
import { expectTypeOf } from 'expect-type'
import { sql, type Database, type Queryable, type StandardSchema, type TypedSqlQuery } from 'millpond'
import { z } from 'zod'

interface User {
  id: number
  username: string
}
const User = z.object({ id: z.number(), username: z.string() })
const Moment = z.object({ at: z.string().transform((text) => new Date(text)) })

declare const database: Database<{ users: User }>
declare const queryable: Queryable
declare const asynchronous: StandardSchema<{ checked: true }>

export async function options(): Promise<void> {
  expectTypeOf(await database.fetchAll('SELECT', {}, { schema: User })).toEqualTypeOf<User[]>()
  expectTypeOf(
    await database.fetchOne('SELECT :id', { id: 1 }, { schema: User }),
  ).toEqualTypeOf<User | null>()
  expectTypeOf(database.iterate('SELECT', {}, { schema: User, batchSize: 2 })).toEqualTypeOf<
    AsyncIterableIterator<User>
  >()
  expectTypeOf(await database.fetchVal('SELECT', {}, { schema: z.number() })).toEqualTypeOf<number | null>()
  expectTypeOf(
    await queryable.fetchVal('SELECT', {}, { schema: z.coerce.number(), column: 'n' }),
  ).toEqualTypeOf<number | null>()
  expectTypeOf(await queryable.fetchAll(sql`SELECT`, undefined, { schema: Moment })).toEqualTypeOf<
    { at: Date }[]
  >()
  expectTypeOf(await queryable.fetchOne('SELECT', {}, { schema: asynchronous })).toEqualTypeOf<{
    checked: true
  } | null>()
  // A builder's own types give way to the schema's, but its columns are checked.
  expectTypeOf(
    await database.fetchAll(database.table('users').select('id'), {}, { schema: Moment }),
  ).toEqualTypeOf<{ at: Date }[]>()
  // @ts-expect-error -- no such column
  await database.fetchAll(database.table('users').select('nope'), {}, { schema: Moment })
  // @ts-expect-error -- no schema
  await database.fetchAll('SELECT', {}, { schema: { parse: () => 1 } })
  // @ts-expect-error -- a statement has no rows to check
  await database.execute('SELECT', {}, { schema: User })
  // @ts-expect-error -- the schema gives another type than the one that is claimed
  await database.fetchAll<{ nope: string }>('SELECT', {}, { schema: User })
}

export async function templates(): Promise<void> {
  const query = sql.type(User)`SELECT id, username FROM users WHERE id = ${1}`
  expectTypeOf(query).toEqualTypeOf<TypedSqlQuery<User>>()
  expectTypeOf(await database.fetchAll(query)).toEqualTypeOf<User[]>()
  expectTypeOf(await queryable.fetchOne(query)).toEqualTypeOf<User | null>()
  expectTypeOf(database.iterate(query)).toEqualTypeOf<AsyncIterableIterator<User>>()
  expectTypeOf(await database.fetchVal(sql.type(z.number())`SELECT 1`)).toEqualTypeOf<number | null>()
  expectTypeOf(
    await database.fetchVal(sql.type(z.number())`SELECT 1 AS n`, {}, { column: 'n' }),
  ).toEqualTypeOf<number | null>()
  expectTypeOf(await database.fetchAll(query, {}, { schema: Moment })).toEqualTypeOf<{ at: Date }[]>()
  // @ts-expect-error -- the schema says otherwise
  const wrong: { id: string }[] = await database.fetchAll(query)
  void wrong
  // @ts-expect-error -- no schema
  sql.type({ parse: () => 1 })
}
