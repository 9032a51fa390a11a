/** Knex's errors, events and configuration, as programs and plug-ins written for Knex use them. */
import type { Knex } from 'knex'
import {
  ConnectionError,
  type Database,
  type DatabaseError,
  databaseErrorOf,
  ForeignKeyViolationError,
  NotNullViolationError,
  PoolTimeoutError,
  QueryError,
  QueryTimeoutError,
  SerializationError,
  TransactionClosedError,
  UniqueViolationError,
} from '../../../src/database'
import { eachDatabase } from '../../support/each-database'
import { endless, failure, gate } from '../support'

/** What a driver puts on its errors. */
type DriverError = DatabaseError & Record<string, unknown>

/** The error of a unique violation. */
const TAKEN = {
  sqlite: {
    code: 'SQLITE_CONSTRAINT',
    errno: 19,
    columns: ['name'],
    message:
      'insert into `people` (`name`) values (?) - SQLITE_CONSTRAINT: UNIQUE constraint failed: people.name',
  },
  postgresql: {
    code: '23505',
    detail: 'Key (name)=(ada) already exists.',
    severity: 'ERROR',
    schema: 'public',
    table: 'people',
    constraint: 'people_name_unique',
    columns: ['name'],
    internalQuery: undefined,
    message:
      'insert into "people" ("name") values ($1) - duplicate key value violates unique constraint "people_name_unique"',
  },
}

eachDatabase('Knex', (context) => {
  let database: Database
  let knex: Knex
  const isSqlite = (): boolean => context.dialect === 'sqlite'
  const rejection = async (builder: PromiseLike<unknown>): Promise<DriverError> =>
    (await failure(Promise.resolve(builder))) as DriverError

  beforeEach(async () => {
    database = await context.open()
    knex = database.knex
    await knex.schema.createTable('people', (table) => {
      table.increments('id')
      table.string('name').notNullable().unique()
      table.integer('boss').references('people.id')
    })
    await knex('people').insert({ name: 'ada' })
  })
  afterEach(async () => {
    await context.admin('drop table people')
  })

  describe('in its errors', () => {
    it("has the driver's code and fields, and its own message, on errors of our classes", async () => {
      const error = await rejection(knex('people').insert({ name: 'ada' }))
      expect(error).toBeInstanceOf(UniqueViolationError)
      expect(error.name).toBe('UniqueViolationError')
      expect(error).toMatchObject(TAKEN[context.dialect])
    })

    it('has them from a transaction, a savepoint, a stream, a schema change and a raw query', async () => {
      const code = isSqlite() ? 'SQLITE_ERROR' : '42P01'
      const fails = (on: Knex): Knex.Raw => on.raw('select * from nowhere')
      for (const run of [
        () => fails(knex),
        () => knex.transaction((trx) => fails(trx)),
        () => knex.transaction((trx) => trx.transaction((inner) => fails(inner))),
        () => database.transaction(() => knex.transaction((trx) => fails(trx))),
        () => knex.schema.dropTable('nowhere'),
        () => fails(knex).stream(() => undefined),
      ])
        expect(await rejection(run() as PromiseLike<unknown>)).toMatchObject({ code })
      expect((await rejection(knex('nowhere'))).message).toMatch(/^select \* from .nowhere. - /)
    })

    it("has the library's code and message from the query methods", async () => {
      const builder = knex('people').insert({ name: 'ada' })
      const error = (await failure(database.execute(builder))) as DriverError
      expect(error).toBeInstanceOf(UniqueViolationError)
      expect(error.code).toBe('UNIQUE_VIOLATION')
      expect(error.message).toMatch(/^The row exists already/)
      expect((error.cause as DriverError).code).toMatch(isSqlite() ? /^SQLITE_CONSTRAINT/ : /^23505$/)
    })

    it('shows no bound value in a message', async () => {
      const text = 'a-secret-text'
      const errors = [
        await rejection(knex('people').insert({ name: text, boss: 99 })),
        await rejection(knex('people').where('nowhere', text)),
        await rejection(knex.raw('select ?? from people where name = ?', ['nowhere', text])),
        ...(isSqlite()
          ? []
          : [
              await rejection(knex('people').where('id', text)),
              await rejection(knex('people').where('id', 'x')),
            ]),
      ]
      for (const { message } of errors) expect(message).not.toContain(text)
      expect(errors.at(-1)?.message).not.toContain('"x"')
      expect(errors[0]).toBeInstanceOf(ForeignKeyViolationError)
    })

    it('shows values with compileSqlOnError', async () => {
      if (!isSqlite()) return
      const telling = await context.open({ knex: { compileSqlOnError: true } })
      const error = await failure(Promise.resolve(telling.knex('people').insert({ name: 'ada' })))
      expect(error.message).toContain("values ('ada') - SQLITE_CONSTRAINT")
    })

    it('has a class for each constraint', async () => {
      expect(await rejection(knex('people').insert({ boss: 1 }))).toBeInstanceOf(NotNullViolationError)
      expect(await rejection(knex('people').insert({ name: 'bob', boss: 9 }))).toBeInstanceOf(
        ForeignKeyViolationError,
      )
      expect(await rejection(knex('nowhere'))).toBeInstanceOf(QueryError)
    })

    it("has the library's codes for a full pool, a timeout and an ended transaction", async () => {
      const single = await context.open({
        pool: { size: 1, maxOverflow: 0, acquireTimeoutMillis: 50 },
        statementTimeoutMillis: 50,
      })
      const held = await single.acquire()
      const full = await rejection(single.knex('people'))
      expect(full).toBeInstanceOf(PoolTimeoutError)
      expect(full.code).toBe('POOL_TIMEOUT')
      await held.release()
      const late = await rejection(single.knex.raw(endless(context.dialect)))
      expect(late).toBeInstanceOf(QueryTimeoutError)
      expect(late.code).toBe('QUERY_TIMEOUT')
      const ended = gate()
      let past: Promise<Error> | undefined
      await database.transaction(async () => {
        past = failure(ended.opened.then(() => knex('people')))
      })
      ended.open()
      expect(await past).toBeInstanceOf(TransactionClosedError)
    })

    it("has the driver's code of a lost connection", async () => {
      if (isSqlite()) return
      const lost = await rejection(knex.raw('select pg_terminate_backend(pg_backend_pid())').timeout(5000))
      expect(lost).toBeInstanceOf(ConnectionError)
      expect(lost.code).toBe('57P01')
      expect(lost.retryable).toBe(true)
    })

    it('lets databaseErrorOf() find the error that another library has wrapped', async () => {
      const nativeError = await rejection(knex('people').insert({ name: 'ada' }))
      expect(databaseErrorOf(nativeError)).toBe(nativeError)
      expect(databaseErrorOf(Object.assign(new Error('of Objection'), { nativeError }))).toBe(nativeError)
      const late = await rejection(knex.raw(endless(context.dialect)).timeout(20))
      expect(databaseErrorOf(late)).toBeInstanceOf(QueryTimeoutError)
      for (const other of [new Error('other', { cause: nativeError }), null, undefined, 'text', {}])
        expect(databaseErrorOf(other)).toBeNull()
    })

    it('retries a transaction for a wrapped SerializationError', async () => {
      let runs = 0
      const result = await database.transaction(
        async () => {
          runs += 1
          const nativeError = new SerializationError('once more', '')
          if (runs === 1) throw Object.assign(new Error('of Objection'), { nativeError })
          return runs
        },
        { retries: 2 },
      )
      expect(result).toBe(2)
    })
  })

  describe('in its events', () => {
    interface Heard {
      readonly event: string
      readonly payload: Record<string, unknown>
    }

    function listen(on: Knex | Knex.QueryBuilder): Heard[] {
      const heard: Heard[] = []
      const keep = (event: string) => (payload: object) => {
        heard.push({ event, payload: payload as Record<string, unknown> })
      }
      on.on('query', keep('query'))
      on.on('query-error', (_: unknown, payload: object) => keep('query-error')(payload))
      on.on('query-response', (_: unknown, payload: object) => keep('query-response')(payload))
      return heard
    }

    it("emits Knex's events and payloads, without the connection", async () => {
      const heard = listen(knex)
      const builder = knex('people').where('name', 'ada')
      const ofBuilder = listen(builder)
      await builder
      await rejection(knex('nowhere'))
      expect(heard.map(({ event }) => event)).toEqual(['query', 'query-response', 'query', 'query-error'])
      expect(ofBuilder.map(({ event }) => event)).toEqual(['query', 'query-response'])
      for (const { payload } of [...heard, ...ofBuilder]) {
        expect(payload).toMatchObject({
          __knexUid: expect.stringMatching(/^__knexUid\d+$/) as unknown,
          method: 'select',
        })
        expect(payload).not.toHaveProperty('connection')
        expect(payload).not.toHaveProperty('secretKey')
      }
      expect(heard[0]?.payload).toMatchObject({ bindings: ['ada'], options: {}, timeout: false })
      expect(Object.keys(heard[0]?.payload ?? {})).toHaveLength(10)
    })

    it('emits events for its transactions, however they were begun', async () => {
      const heard = listen(knex)
      await knex.transaction((trx) => trx('people'))
      await database.transaction(() => knex.transaction((trx) => trx('people')))
      expect(heard.filter(({ event }) => event === 'query').map(({ payload }) => payload['sql'])).toEqual([
        'BEGIN;',
        expect.stringContaining('select'),
        'COMMIT;',
        'BEGIN;',
        expect.stringContaining('select'),
        'COMMIT;',
      ])
      for (const { payload } of heard.filter(({ event }) => event === 'query'))
        expect(payload).toMatchObject({ __knexTxId: expect.stringMatching(/^trx\d+$/) as unknown })
    })

    it('emits none for the query methods, which database.on() reports', async () => {
      const heard = listen(knex)
      const ours: string[] = []
      database.on('query', ({ sql }) => ours.push(sql))
      await database.fetchAll(knex('people'))
      await knex('people')
      expect(heard).toHaveLength(2)
      expect(ours).toHaveLength(2)
    })

    it('names each connection differently, and one connection always the same', async () => {
      const heard = listen(knex)
      await database.connection(async () => {
        await knex('people')
        await knex('people')
        await database.detached(async () => knex('people'))
      })
      const names = heard.filter(({ event }) => event === 'query').map(({ payload }) => payload['__knexUid'])
      expect(names[0]).toBe(names[1])
      expect(names[2]).not.toBe(names[0])
    })
  })

  describe('in what plug-ins look at', () => {
    it('has the names of its client and its dialect', async () => {
      const client = knex.client as Knex.Client
      expect(client.config.client).toBe(isSqlite() ? 'sqlite3' : 'pg')
      expect(client.constructor.name).toBe(isSqlite() ? 'Client_SQLite3' : 'Client_PG')
      await knex.transaction(async (trx) => {
        const own = trx.client as Knex.Client
        expect([own.config.client, own.constructor.name]).toEqual([
          client.config.client,
          client.constructor.name,
        ])
      })
      expect(Object.keys(client.config)).not.toContain('millpond')
    })

    it("has the figures of the pool under Knex's names", async () => {
      for (const { client } of [knex, knex.withUserParams({ tenant: 'one' })] as {
        readonly client: { readonly pool?: Record<string, () => number> }
      }[]) {
        const held = await database.acquire()
        expect(client.pool?.['numUsed']?.()).toBe(1)
        expect(client.pool?.['numPendingAcquires']?.()).toBe(0)
        await held.release()
        expect(client.pool?.['numFree']?.()).toBe(database.stats().idle)
      }
    })

    it('has userParams, and copies with other ones', async () => {
      const cloned = knex.withUserParams({ tenant: 'one' })
      expect(cloned.userParams).toEqual({ tenant: 'one' })
      expect(await cloned('people').pluck('name')).toEqual(['ada'])
      await cloned.transaction(async (trx) => trx('people').insert({ name: 'bob' }))
      expect(await knex('people').orderBy('id').pluck('name')).toEqual(['ada', 'bob'])
    })
  })
})
