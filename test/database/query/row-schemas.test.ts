/** Rows and values that are validated by a schema of any library that implements Standard Schema. */
import { expectTypeOf } from 'expect-type'
import * as v from 'valibot'
import { z } from 'zod'
import {
  ConfigurationError,
  type Database,
  QueryError,
  RowError,
  sql,
  type StandardSchema,
} from '../../../src/database'
import { eachDatabase } from '../../support/each-database'
import { standingCheck } from '../../support/standing-check'
import { all, failure, runScript } from '../support'

interface User {
  id: number
  username: string
}

const SCHEMAS: readonly (readonly [string, StandardSchema<User>])[] = [
  ['Zod', z.object({ id: z.number(), username: z.string() })],
  ['Valibot', v.object({ id: v.number(), username: v.string() })],
]
const Named = z.object({ id: z.number(), email: z.string() })

/** An asynchronous schema. */
const asynchronous: StandardSchema<{ checked: unknown }> = {
  '~standard': {
    version: 1,
    vendor: 'this test',
    validate: async (value) => {
      await new Promise(setImmediate)
      return value === null ? { issues: [{ message: 'It is null.' }] } : { value: { checked: value } }
    },
  },
}

eachDatabase('row schemas', (context) => {
  let database: Database
  const json = context.dialect === 'sqlite' ? 'json' : 'jsonb'
  const USERS = 'select id, username from users order by id'

  beforeEach(async () => {
    database = await context.open({ pool: { size: 2, maxOverflow: 0 } })
    await database.execute(
      `create table users (id integer primary key, username text not null, email text, address ${json})`,
    )
    await database.executeMany('insert into users (id, username, email) values (:id, :username, :email)', [
      { id: 1, username: 'ada', email: 'ada@example.org' },
      { id: 2, username: 'bob', email: 'bob@example.org' },
      { id: 3, username: 'secret-eve', email: null },
    ])
  })
  afterEach(async () => {
    await context.admin('drop table if exists users')
  })

  it.each(SCHEMAS)('of %s are accepted as an option and by sql.type', async (_library, schema) => {
    const users = [
      { id: 1, username: 'ada' },
      { id: 2, username: 'bob' },
      { id: 3, username: 'secret-eve' },
    ]
    const found = await database.fetchAll(USERS, {}, { schema })
    expectTypeOf(found).toEqualTypeOf<User[]>()
    expect(found).toEqual(users)
    expect(await all(database.iterate(USERS, {}, { schema }))).toEqual(users)
    const one = await database.fetchOne(sql.type(schema)`select id, username from users where id = ${2}`)
    expectTypeOf(one).toEqualTypeOf<User | null>()
    expect(one).toEqual({ id: 2, username: 'bob' })
    expect(
      await all(database.iterate(sql.type(schema)`select id, username from users where id < ${3}`)),
    ).toEqual(users.slice(0, 2))
  })

  it.each(SCHEMAS)(
    'of %s refuse a row by its number and its columns, and show no values',
    async (_library, schema) => {
      const query = 'select id, case when id = 3 then 4711 else 1 end as username from users where id = 3'
      const error = (await failure(database.fetchAll(query, {}, { schema }))) as RowError
      expect(error).toBeInstanceOf(RowError)
      expect(error).toBeInstanceOf(QueryError)
      expect(error).toMatchObject({
        code: 'ROW_INVALID',
        retryable: false,
        row: 1,
        paths: ['username'],
        sql: query,
      })
      expect(error.message).toContain("Row 1 does not fit the schema of the query, at 'username'.")
      expect(error.message).not.toContain('4711')
      expect(error.cause).toEqual([expect.objectContaining({ path: expect.anything() as unknown })])
    },
  )

  it('return the transformed row', async () => {
    const schema = z.object({ id: z.number(), username: z.string().transform((name) => name.length) })
    const [first] = await database.fetchAll(USERS, {}, { schema })
    expectTypeOf(first).toEqualTypeOf<{ id: number; username: number } | undefined>()
    expect(first).toEqual({ id: 1, username: 3 })
    const names = z.object({ username: z.string() }).transform(({ username }) => username)
    expect(await database.fetchAll(sql.type(names)`select * from users order by id`)).toEqual([
      'ada',
      'bob',
      'secret-eve',
    ])
    expect(await all(database.iterate(USERS, {}, { schema: names }))).toEqual(['ada', 'bob', 'secret-eve'])
  })

  it('validate the rows of builders after postProcessResponse', async () => {
    const builder = database.table('users').orderBy('id').select('id', 'email')
    expect(await failure(database.fetchAll(builder, {}, { schema: Named }))).toMatchObject({
      row: 3,
      paths: ['email'],
    })
    const upper = await context.open({
      knex: { postProcessResponse: (rows: object[]) => rows.map((row) => ({ ...row, seen: true })) },
    })
    const schema = z.object({ id: z.number(), seen: z.literal(true) })
    expect(await upper.fetchAll(upper.table('users').select('id').where({ id: 1 }), {}, { schema })).toEqual([
      { id: 1, seen: true },
    ])
  })

  it('name the path into a document, and no path for the row as a whole', async () => {
    await database.execute(
      'update users set address = \'{"streets": [{"name": "Hidden Lane"}]}\' where id = 1',
    )
    const nested = z.object({ address: z.object({ streets: z.array(z.object({ name: z.number() })) }) })
    const error = (await failure(
      database.fetchOne('select address from users where id = 1', {}, { schema: nested }),
    )) as RowError
    expect(error.paths).toEqual(['address.streets.0.name'])
    expect(error.message).not.toContain('Hidden')

    const whole = z.object({ id: z.number() }).refine(({ id }) => id < 2, 'Too large.')
    const refused = (await failure(database.fetchAll(USERS, {}, { schema: whole }))) as RowError
    expect(refused).toMatchObject({ row: 2, paths: [] })
    expect(refused.message).toMatch(/^Row 2 does not fit the schema of the query\. /)
  })

  it('name at most ten paths in the message', async () => {
    await database.execute(`update users set address = '[${'0, '.repeat(29)}0]' where id = 1`)
    const schema = z.object({ address: z.array(z.string()) })
    const error = (await failure(
      database.fetchOne('select address from users where id = 1', {}, { schema }),
    )) as RowError
    expect(error.paths).toHaveLength(30)
    expect(error.message).toContain("'address.9' and 20 more.")
  })

  it('validate the value of fetchVal, NULL included, and nothing when there is no row', async () => {
    const count = await database.fetchVal('select count(*) from users', {}, { schema: z.coerce.number() })
    expectTypeOf(count).toEqualTypeOf<number | null>()
    expect(count).toBe(3)
    const email = 'select email from users where id = :id'
    expect(await database.fetchVal(email, { id: 1 }, { schema: z.string(), column: 'email' })).toBe(
      'ada@example.org',
    )
    expect(
      await failure(database.fetchVal(email, { id: 3 }, { schema: z.string(), column: 'email' })),
    ).toMatchObject({
      row: 1,
      paths: ['email'],
    })
    expect(await failure(database.fetchVal(email, { id: 3 }, { schema: z.string() }))).toMatchObject({
      paths: ['0'],
    })
    expect(await database.fetchVal(email, { id: 3 }, { schema: z.string().nullable() })).toBeNull()
    expect(await database.fetchVal(email, { id: 4 }, { schema: z.string() })).toBeNull()
    expect(await database.fetchVal(sql.type(z.string())`select username from users where id = ${2}`)).toBe(
      'bob',
    )
    expect(await database.fetchOne('select * from users where id = 4', {}, { schema: z.never() })).toBeNull()
    expect(await database.fetchAll('select * from users where id = 4', {}, { schema: z.never() })).toEqual([])
  })

  it('may be asynchronous', async () => {
    const schema = asynchronous
    const bob = { checked: { username: 'bob' } }
    const query = 'select username from users where id = 2'
    expect(await database.fetchAll(query, {}, { schema })).toEqual([bob])
    expect(await database.fetchOne(query, {}, { schema })).toEqual(bob)
    expect(await database.fetchVal(query, {}, { schema })).toEqual({ checked: 'bob' })
    expect(await all(database.iterate(query, {}, { schema }))).toEqual([bob])
    const nothing = 'select email from users where id = 3'
    expect(await failure(database.fetchVal(nothing, {}, { schema }))).toBeInstanceOf(RowError)
    // Asked for at the same time, rows come in their order.
    const rows = database.iterate(USERS, {}, { schema, batchSize: 1 })
    const found = await Promise.all([rows.next(), rows.next(), rows.next(), rows.next()])
    expect(found.map(({ done, value }) => (done === true ? 'end' : value))).toMatchObject([
      { checked: { id: 1 } },
      { checked: { id: 2 } },
      { checked: { id: 3 } },
      'end',
    ])
  })

  it('end a stream at the first invalid row, and free its connection', async () => {
    const ids: number[] = []
    const read = async (): Promise<void> => {
      const rows = database.iterate(
        'select id, email from users order by id',
        {},
        { schema: Named, batchSize: 2 },
      )
      for await (const { id } of rows) ids.push(id)
    }
    expect(await failure(read())).toMatchObject({ code: 'ROW_INVALID', row: 3, paths: ['email'] })
    expect(ids).toEqual([1, 2])
    expect(database.stats().used).toBe(0)
  })

  it('roll back the transaction that read an invalid row', async () => {
    const work = database.transaction(async (tx) => {
      await tx.execute("update users set username = 'changed'")
      await tx.fetchAll('select id, email from users order by id', {}, { schema: Named })
    })
    expect(await failure(work)).toBeInstanceOf(RowError)
    expect(await database.fetchVal('select username from users where id = 1')).toBe('ada')
  })

  it('of a call override those of its query, and those of nested fragments do not apply', async () => {
    const strict = sql.type(z.never())`select username from users where id = ${1}`
    expect(await database.fetchVal(strict, {}, { schema: z.string() })).toBe('ada')
    expect(await database.fetchVal(sql`select (${strict}) as name`)).toBe('ada')
    const { rowCount } = await database.execute(sql.type(z.never())`update users set email = null`)
    expect(rowCount).toBe(3)
  })

  it('are refused before anything runs when they are invalid, or the method returns no rows', async () => {
    const none = { parse: () => 1 } as never
    const insert = "insert into users (id, username) values (4, 'joe') returning id"
    expect(await failure(database.fetchAll(insert, {}, { schema: none }))).toBeInstanceOf(ConfigurationError)
    expect(await failure(database.fetchOne(sql.type(none)`select 1`))).toBeInstanceOf(ConfigurationError)
    expect(() => database.iterate('select 1', {}, { schema: none })).toThrow(ConfigurationError)
    const schema = z.unknown()
    expect(await failure(database.execute(insert, {}, { schema } as never))).toBeInstanceOf(
      ConfigurationError,
    )
    expect(
      await failure(database.executeMany(database.table('users'), [], { schema } as never)),
    ).toBeInstanceOf(ConfigurationError)
    expect(await database.fetchVal('select count(*) from users').then(Number)).toBe(3)
  })

  it('that throw reject with their own error', async () => {
    const schema = z.unknown().transform(() => {
      throw new RangeError('a bug of the schema')
    })
    expect(await failure(database.fetchAll(USERS, {}, { schema }))).toBeInstanceOf(RangeError)
    expect(await failure(all(database.iterate(USERS, {}, { schema })))).toBeInstanceOf(RangeError)
    expect(database.stats().used).toBe(0)
  })
})

describe('row schemas', () => {
  standingCheck()

  it('of ArkType, which are functions, are accepted as well', async () => {
    // ArkType is an ES module, which Jest cannot load on every release of Node.
    const { stdout } = await runScript(`
      const { Database, sql } = require('./src/database')
      import('arktype').then(async ({ type }) => {
        const database = new Database('sqlite://')
        await database.connect()
        const schema = type({ id: 'number', username: 'string' })
        console.log(JSON.stringify(await database.fetchAll(sql.type(schema)\`select 1 as id, 'ada' as username\`)))
        const query = "select 1 as id, 4711 as username"
        const error = await database.fetchOne(query, {}, { schema }).catch((error) => error)
        console.log(error.code, error.message)
        await database.disconnect()
      })
    `)
    const [found, refused] = stdout.trim().split('\n')
    expect(JSON.parse(found ?? '')).toEqual([{ id: 1, username: 'ada' }])
    expect(refused).toMatch(/^ROW_INVALID Row 1 .*'username'/)
    expect(refused).not.toContain('4711')
  })
})
