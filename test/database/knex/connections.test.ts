/** acquireConnection() of Knex's client: the driver's own connection, leased from the pool. */
import { pipeline } from 'node:stream/promises'
import { Readable } from 'node:stream'
import knexOf, { type Knex } from 'knex'
import type { Client } from 'pg'
import { from as copyFrom } from 'pg-copy-streams'
import type { Database as SqliteConnection } from 'sqlite3'
import {
  type Database,
  knexConfig,
  QueryTimeoutError,
  TransactionClosedError,
  TransactionError,
} from '../../../src/database'
import { eachDatabase } from '../../support/each-database'
import { waitFor } from '../../support/wait-for'
import { all, endless, failure, idsOf, numbers, undone } from '../support'

type Raw = (Client | SqliteConnection) & { __knexUid: string }

/** Runs a statement by the driver itself. */
async function byDriver(raw: Raw, sql: string): Promise<unknown[]> {
  if ('query' in raw) return (await raw.query<object>(sql)).rows
  return new Promise((resolve, reject) => {
    raw.all(sql, (error, rows) => {
      if (error) reject(error)
      else resolve(rows)
    })
  })
}

eachDatabase('a connection from Knex’s acquireConnection()', (context) => {
  let database: Database
  let knex: Knex
  const acquire = async (): Promise<Raw> => (await (knex.client as Knex.Client).acquireConnection()) as Raw
  const release = async (raw: Raw): Promise<void> => {
    await (knex.client as Knex.Client).releaseConnection(raw)
  }

  beforeEach(async () => {
    database = await context.open({ pool: { size: 2, maxOverflow: 0 }, statementTimeoutMillis: 2000 })
    knex = database.knex
    await database.execute('create table t (id integer primary key, name text)')
  })
  afterEach(async () => {
    await context.admin('drop table t')
  })

  it("is the driver's own, with Knex's name for it", async () => {
    const raw = await acquire()
    expect(raw.__knexUid).toMatch(/^__knexUid\d+$/)
    expect(await byDriver(raw, 'select 1 as x')).toEqual([{ x: 1 }])
    expect(await database.fetchVal('select 2')).toBe(2)
    await release(raw)
    expect(database.stats().used).toBe(0)
  })

  it("is the driver's own on the command line as well, and runs statements in order", async () => {
    const seen: unknown[] = []
    const afterCreate = (raw: Raw, done: (error: unknown, raw: Raw) => void): void => {
      const sql = 'select 1 as x'
      const tell = (error: unknown, found: unknown): void => {
        seen.push(found)
        done(error, raw)
      }
      if ('query' in raw) raw.query(sql, (error, result) => tell(error, result.rows))
      else raw.all(sql, tell)
    }
    const commandLine = knexOf({ ...knexConfig(context.url), pool: { afterCreate } })
    try {
      const client = commandLine.client as Knex.Client
      const raw = (await client.acquireConnection()) as Raw
      expect(seen).toEqual([[{ x: 1 }]])
      expect(await byDriver(raw, 'select 2 as x')).toEqual([{ x: 2 }])
      await client.releaseConnection(raw)
      await commandLine.transaction(async (trx) => {
        for (let id = 1; id <= 20; id++) {
          const [, rows] = await Promise.all([
            trx.schema.createTable(`made${id}`, (table) => table.increments('id')),
            trx(`made${id}`),
            trx.raw(`drop table made${id}`),
          ])
          expect(rows).toEqual([])
        }
      })
    } finally {
      await commandLine.destroy()
    }
  })

  it('is listed in holders() until it is released', async () => {
    const raw = await acquire()
    expect(database.holders()).toHaveLength(1)
    expect(database.stats().used).toBe(1)
    await release(raw)
    await release(raw)
    expect(database.holders()).toEqual([])
    expect(await database.fetchVal('select 1')).toBe(1)
  })

  it('runs the builders that get it, one at a time', async () => {
    const raw = await acquire()
    await byDriver(raw, 'create temporary table own (id integer)')
    await Promise.all([1, 2, 3].map(async (id) => knex('own').insert({ id }).connection(raw)))
    expect(await knex('own').orderBy('id').pluck('id').connection(raw)).toEqual([1, 2, 3])
    await knex.schema.createTable('made', (table) => table.increments('id')).connection(raw)
    await knex.schema.dropTable('made').connection(raw)
    const client = knex.client as Knex.Client
    expect(
      await client.query(raw, { sql: 'select id from own where id = ?', bindings: [2], method: 'raw' }),
    ).toMatchObject({ response: expect.anything() as unknown })
    await release(raw)
    expect(await failure(Promise.resolve(knex('own').connection(raw)))).toBeInstanceOf(TransactionError)
  })

  it('is closed when it is released, since its state is unknown', async () => {
    const reasons: string[] = []
    database.on('retire', ({ reason }) => reasons.push(reason))
    const raw = await acquire()
    await byDriver(raw, 'create temporary table own (id integer)')
    await release(raw)
    await waitFor(() => reasons.length === 1)
    expect(reasons).toEqual(['changed'])
    expect(await failure(database.fetchAll('select * from own'))).toBeInstanceOf(Error)
  })

  it('cancels statements at the statement timeout', async () => {
    const impatient = await context.open({ statementTimeoutMillis: 100 })
    const raw = (await (impatient.knex.client as Knex.Client).acquireConnection()) as Raw
    const hangs = impatient.knex.raw(endless(context.dialect)).connection(raw)
    expect(await failure(Promise.resolve(hangs))).toBeInstanceOf(QueryTimeoutError)
    const read = all(impatient.knex.raw(endless(context.dialect)).connection(raw).stream())
    expect(await failure(read)).toBeInstanceOf(QueryTimeoutError)
    expect(await impatient.knex.raw('select 1').connection(raw)).toBeDefined()
    await (impatient.knex.client as Knex.Client).releaseConnection(raw)
    expect(impatient.stats().used).toBe(0)
  })

  it('stays acquired when a stream on it ends', async () => {
    const raw = await acquire()
    const rows = (): AsyncIterable<unknown> => knex.raw(numbers(context.dialect, 3)).connection(raw).stream()
    expect(await all(rows())).toEqual([{ n: 1 }, { n: 2 }, { n: 3 }])
    for await (const row of rows()) {
      expect(row).toEqual({ n: 1 })
      break
    }
    expect(database.stats().used).toBe(1)
    expect(await knex.raw('select 1').connection(raw)).toBeDefined()
    await release(raw)
  })

  it('can be given to a transaction of Knex, and stays acquired', async () => {
    const raw = await acquire()
    await knex.transaction(async (trx) => trx('t').insert({ id: 1 }), { connection: raw })
    await undone(
      knex.transaction(
        async (trx) => {
          await trx('t').insert({ id: 2 })
          throw new Error('out')
        },
        { connection: raw },
      ),
    )
    expect(database.stats().used).toBe(1)
    await release(raw)
    expect(await idsOf(database)).toEqual([1])
  })

  it('rolls back an open transaction when it is released', async () => {
    const raw = await acquire()
    await byDriver(raw, 'begin')
    await byDriver(raw, 'insert into t (id) values (1)')
    await release(raw)
    await waitFor(() => database.stats().used === 0)
    expect(await idsOf(database)).toEqual([])
  })

  it('is another one inside a transaction, as with acquire()', async () => {
    await database.transaction(async () => {
      expect(await database.fetchVal('select 1')).toBe(1)
      const raw = await acquire()
      expect(database.stats().used).toBe(2)
      await release(raw)
      expect(database.stats().used).toBe(1)
    })
  })

  it('is the one of a forced rollback', async () => {
    await database.forceRollback(async () => {
      const raw = await acquire()
      const other = await acquire()
      expect(other).toBe(raw)
      await knex('t').insert({ id: 1 }).connection(raw)
      expect(await byDriver(raw, 'select id from t')).toEqual([{ id: 1 }])
      await release(raw)
      await release(other)
      expect(await idsOf(database)).toEqual([1])
      expect(database.holders()).toEqual([])
    })
    expect(await idsOf(database)).toEqual([])
  })

  it('of a transaction can be acquired, and used directly', async () => {
    const reasons: string[] = []
    database.on('retire', ({ reason }) => reasons.push(reason))
    await undone(
      knex.transaction(async (trx) => {
        await trx('t').insert({ id: 1 })
        const raw = (await (trx.client as Knex.Client).acquireConnection()) as Raw
        await byDriver(raw, 'insert into t (id) values (2)')
        expect(await trx('t').orderBy('id').pluck('id')).toEqual([1, 2])
        if ('query' in raw)
          await pipeline(Readable.from(['3\tcopied\n']), raw.query(copyFrom('copy t from stdin')))
        expect(await trx('t').count({ n: '*' })).toEqual([{ n: expect.anything() as unknown }])
        throw new Error('out')
      }),
    )
    expect(await idsOf(database)).toEqual([])
    await waitFor(() => reasons.length > 0)
    expect(reasons).toEqual(['changed'])
  })

  it('of a transaction returns to the pool when it was not acquired', async () => {
    const { created } = database.stats()
    for (let id = 1; id <= 3; id += 1) await knex.transaction(async (trx) => trx('t').insert({ id }))
    expect(database.stats()).toMatchObject({ created, used: 0 })
  })

  it('is refused when the Database is not connected', async () => {
    await database.disconnect()
    expect((await failure(acquire())).message).toMatch(/not connected/)
    await database.connect()
  })

  it('is refused to a builder of a transaction that has ended', async () => {
    let late: Promise<Error> | undefined
    await database.transaction(async () => {
      const builder = knex('t').insert({ id: 1 })
      late = failure(new Promise((resolve) => setImmediate(resolve)).then(() => builder))
    })
    expect(await late).toBeInstanceOf(TransactionClosedError)
  })
})
