/** Schema changes that rebuild a table, as SQLite needs for many of them, keep the rows that refer to it. */
import type { Knex } from 'knex'
import type { Database } from '../../../src/database'
import { eachDatabase } from '../../support/each-database'
import { waitFor } from '../../support/wait-for'
import { failure } from '../support'

const POSTS = [
  { id: 1, author_id: 1 },
  { id: 2, author_id: 2 },
]

const CHANGES: readonly (readonly [string, (table: Knex.AlterTableBuilder) => unknown])[] = [
  ['dropColumn', (table) => table.dropColumn('gender')],
  ['alter', (table) => table.string('name', 200).notNullable().alter()],
  ['setNullable', (table) => table.setNullable('name')],
  ['dropNullable', (table) => table.dropNullable('name')],
]

eachDatabase('a rebuilt table', (context) => {
  // PostgreSQL changes tables in place.
  if (context.dialect !== 'sqlite') {
    it('keeps the rows that refer to it', async () => {
      const database = await context.open()
      await fill(database, 'cascade')
      await database.transaction(() =>
        database.execute(database.knex.schema.alterTable('users', (table) => table.dropColumn('gender'))),
      )
      expect(await database.fetchAll('select * from posts order by id')).toEqual(POSTS)
    })
    return
  }

  const urls = (): string[] => [context.url, context.memoryUrl]

  describe.each(['cascade', 'set null', 'restrict', 'no action'])('with ON DELETE %s', (action) => {
    it.each(CHANGES)('keeps the rows that refer to it through %s', async (_, change) => {
      for (const url of urls()) {
        const database = await context.open({ pool: { size: 1, maxOverflow: 0 } }, url)
        const alter = (knex: Knex): Knex.SchemaBuilder =>
          knex.schema.alterTable('users', (t) => void change(t))
        const ways: (() => Promise<unknown>)[] = [
          () => database.transaction(() => database.execute(alter(database.knex))),
          () => database.transaction(async () => alter(database.knex)),
          () => database.knex.transaction((trx) => alter(trx)),
        ]
        for (const way of ways) {
          await fill(database, action)
          const { message, cause } = await failure(way())
          expect(`${message} ${String(cause)}`).toMatch(/cannot be made anew.*enforceForeignCheck: false/s)
          expect(await database.fetchAll('select * from posts')).toEqual(POSTS)
        }
        await fill(database, action)
        await alter(database.knex)
        expect(await database.fetchAll('select * from posts')).toEqual(POSTS)
        await fill(database, action)
        await database.knex.transaction((trx) => alter(trx), {
          enforceForeignCheck: false,
        } as Knex.TransactionConfig)
        expect(await database.fetchAll('select * from posts')).toEqual(POSTS)
        await waitFor(async () => (await database.fetchVal('pragma foreign_keys')) === 1)
      }
    })
  })

  it.each(CHANGES)('is changed by %s in a transaction too, when no table refers to it', async (_, change) => {
    const database = await context.open()
    await fill(database, 'cascade')
    await database.execute('drop table posts')
    const alter = (knex: Knex): Knex.SchemaBuilder => knex.schema.alterTable('users', (t) => void change(t))
    await database.transaction(() => database.execute(alter(database.knex)))
    await fill(database, 'cascade')
    await database.execute('drop table posts')
    await database.knex.transaction((trx) => alter(trx))
    expect(await database.fetchVal('select count(*) from users')).toBe(2)
    await database.execute('create table posts (id integer)')
  })

  it('is rolled back when rows refer to missing ones in the end', async () => {
    const database = await context.open()
    await fill(database, 'cascade')
    const work = database.knex.transaction((trx) => trx('users').where({ id: 1 }).delete(), {
      enforceForeignCheck: false,
    } as Knex.TransactionConfig)
    expect((await failure(work)).message).toMatch(/1 foreign key violation/)
    expect(await database.fetchAll('select * from posts')).toEqual(POSTS)
  })

  it('is not possible in a transaction with PRAGMA foreign_keys, which is refused', async () => {
    const database = await context.open()
    for (const pragma of [
      'pragma foreign_keys = off',
      'PRAGMA main.foreign_keys(0)',
      'pragma foreign_keys=1',
    ])
      expect((await failure(database.transaction((tx) => tx.execute(pragma)))).message).toMatch(
        /ignores PRAGMA/,
      )
    expect(await database.transaction((tx) => tx.fetchVal('pragma foreign_keys'))).toBe(1)
  })

  it('has foreign keys enforced again before the call resolves', async () => {
    const database = await context.open()
    await fill(database, 'cascade')
    const set: string[] = []
    database.knex.on('query-response', (_, { sql }: { sql: string }) => {
      if (/foreign_keys = /.test(sql)) set.push(sql)
    })
    await database.knex.schema.alterTable('users', (table) => table.dropColumn('gender'))
    expect(set.at(-1)).toBe('PRAGMA foreign_keys = ON')
    await database.knex.transaction(
      async (trx) => trx.schema.alterTable('users', (table) => table.setNullable('name')),
      { enforceForeignCheck: false } as Knex.TransactionConfig,
    )
    expect(set.at(-1)).toBe('PRAGMA foreign_keys = ON')
    expect(database.stats().used).toBe(0)
  })

  it('has foreign keys enforced for the next caller', async () => {
    for (const url of urls()) {
      const database = await context.open({ pool: { size: 1, maxOverflow: 0 } }, url)
      await database.connection(async (connection) => {
        await connection.execute('pragma foreign_keys = off')
        expect(await connection.fetchVal('pragma foreign_keys')).toBe(0)
      })
      expect(await database.fetchVal('pragma foreign_keys')).toBe(1)
    }
  })
})

async function fill(database: Database, action: string): Promise<void> {
  for (const sql of [
    'drop table if exists posts',
    'drop table if exists users',
    'create table users (id integer primary key, name varchar(20), gender varchar(20))',
    `create table posts (id integer primary key, author_id integer references users (id) on delete ${action})`,
    "insert into users values (1, 'ada', 'f'), (2, 'bob', 'm')",
    'insert into posts values (1, 1), (2, 2)',
  ])
    await database.execute(sql)
}
