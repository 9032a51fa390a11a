/** Cancellation beside queries that the caller sends by `connection.raw`: pg queues both, and only the library's are cancelled. */
import { promisify } from 'node:util'
import type pg from 'pg'
import {
  type Connection,
  type Database,
  QueryCanceledError,
  type Queryable,
  UniqueViolationError,
} from '../../../src/database'
import { eachDatabase } from '../../support/each-database'
import { endless, failure, numbers } from '../support'

const ROUNDS = 60

eachDatabase('a query that is sent by connection.raw', (context) => {
  let database: Database

  beforeEach(async () => {
    database = await context.open({ pool: { size: 1, maxOverflow: 0 } })
    await database.execute('create table t (id integer primary key)')
  })
  afterEach(async () => {
    await context.admin('drop table t')
  })

  /** By pg's client or by sqlite3's database. */
  const send = (raw: unknown, sql: string): Promise<unknown> =>
    context.dialect === 'postgresql'
      ? (raw as pg.Client).query(sql)
      : promisify((raw as { all(text: string, done: () => void): void }).all.bind(raw))(sql)

  it('runs although a statement of the library beside it fails', async () => {
    await using connection = await database.acquire()
    await connection.execute('insert into t values (1)')
    const failed = failure(connection.execute('insert into t values (1)'))
    await send(connection.raw, 'insert into t values (2)')
    expect(await failed).toBeInstanceOf(UniqueViolationError)
    expect(await connection.fetchAll('select id from t order by id')).toEqual([{ id: 1 }, { id: 2 }])
  })

  // SQLite's interrupt cancels everything that runs on a connection.
  if (context.dialect === 'sqlite') return

  const ways: Record<string, (on: Queryable, options: object) => Promise<unknown>> = {
    'a query': (on, options) => on.fetchAll(endless(context.dialect), {}, options),
    'several in one text': (on, options) =>
      on.execute(database.knex.raw(`select 1; ${endless(context.dialect)}`), {}, options),
    'a stream': async (on, options) => {
      for await (const _ of on.iterate(endless(context.dialect), {}, options)) await Promise.resolve()
    },
    'a list of rows': (on, options) =>
      on.executeMany(
        'insert into t values (:id)',
        Array.from({ length: 2000 }, (_, id) => ({ id })),
        options,
      ),
  }
  /** Runs work on a connection, and with the client of pg behind it. */
  const places: Record<
    string,
    (work: (on: Connection, client: pg.Client) => Promise<void>) => Promise<void>
  > = {
    'on a connection': async (work) => {
      await using connection = await database.acquire()
      await work(connection, connection.raw as pg.Client)
    },
    'in a transaction': async (work) => {
      await database.transaction(() =>
        database.connection((connection) => work(connection, connection.raw as pg.Client)),
      )
    },
  }

  for (const [place, within] of Object.entries(places)) {
    for (const [name, way] of Object.entries(ways)) {
      it(`is not cancelled with ${name} that waits behind it, ${place}`, async () => {
        context.mayHoldLong()
        const controller = new AbortController()
        const other = await context.open()
        await using holder = await other.acquire()
        await holder.execute('select pg_advisory_lock(1)')
        await within(async (on, client) => {
          const other = client.query('select pg_advisory_lock(1)')
          const cancelled = failure(way(on, { signal: controller.signal }))
          setImmediate(() => controller.abort())
          expect(await cancelled).toBeInstanceOf(QueryCanceledError)
          // A statement that was never sent rejects before the server has finished the one in front of it.
          await holder.execute('select pg_advisory_unlock(1)')
          await other
          expect(await on.fetchVal('select 1')).toBe(1)
        })
      })
    }
  }

  it('is not cancelled with the statement before it, at any moment', async () => {
    context.mayHoldLong()
    await using connection = await database.acquire()
    const client = connection.raw as pg.Client
    for (let round = 0; round < ROUNDS; round += 1) {
      const controller = new AbortController()
      const sql = round % 2 === 0 ? endless(context.dialect) : numbers(context.dialect, round * 20)
      const outcome = connection
        .fetchAll(sql, {}, { signal: controller.signal })
        .catch((error: unknown) => error)
      const others = [1, 2].map(() => client.query(numbers(context.dialect, 1500)))
      for (let turn = 0; turn < round % 13; turn += 1) await new Promise(setImmediate)
      controller.abort()
      await outcome
      // Otherwise a query that was not cancelled fails.
      expect(await Promise.all(others)).toHaveLength(2)
    }
  })

  it('is not cut off when a statement before it has failed, however long it runs', async () => {
    context.mayHoldLong()
    await using connection = await database.acquire()
    const client = connection.raw as pg.Client
    await connection.execute('insert into t values (1)')
    const failed = failure(connection.execute('insert into t values (1)'))
    const other = client.query('select pg_sleep(2.5)')
    expect(await failed).toBeInstanceOf(UniqueViolationError)
    await other
  })
})
