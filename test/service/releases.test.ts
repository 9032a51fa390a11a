/** Two releases on one database: one that lacks a migration of the database, and one whose migrations it lacks. */
import request from 'supertest'
import type { Database } from '../../src/database'
import { serve } from '../../src/express'
import { createApp } from '../../src/service/app'
import { createLogger } from '../../src/service/logging'
import { migrate, migrationsFor, servedDatabase } from '../../src/service/migrations'
import { eachDatabase } from '../support/each-database'
import { freePort } from '../support/free-port'
import { waitFor } from '../support/wait-for'
import { ServiceProcess } from './support/service-process'

const NEWER = '20991231235959_of_a_newer_release.ts'
const PENDING =
  /^migrations have not been run: 20261122090000_create_users\.ts, .*create_idempotency_keys\.ts$/

eachDatabase('a release of the service', (context) => {
  jest.setTimeout(120_000)
  let url: string
  let productsUrl: string
  let database: Database

  beforeEach(async () => {
    url = await context.createDatabase()
    productsUrl = await context.createDatabase()
    database = await context.open({}, url)
    const products = await context.open({}, productsUrl)
    await migrate(products, 'products')
  })

  /** Notes a migration as run, as a newer release does. */
  const runNewer = (): Promise<unknown> =>
    database.execute(
      database.knex('knex_migrations_main').insert({ name: NEWER, batch: 2, migration_time: new Date() }),
    )

  async function start(variables: Record<string, string>): Promise<ServiceProcess> {
    return new ServiceProcess({
      DATABASE_URL: url,
      PRODUCTS_DATABASE_URL: productsUrl,
      HOST: '127.0.0.1',
      PORT: String(await freePort()),
      ...variables,
    })
  }

  it.each(['true', 'false'])(
    'starts on a database that a newer one has migrated, and names its migration, with MIGRATE_ON_START=%s',
    async (MIGRATE_ON_START) => {
      await migrate(database, 'main')
      await runNewer()
      await using service = await start({ MIGRATE_ON_START })
      const at = await service.listening()
      expect(service.messages).toContain(
        `database main: a newer release has run migrations that this one does not have (${NEWER}).`,
      )
      const { body } = await request(at).get('/readyz').expect(200)
      expect(body).toEqual({
        status: 'ready',
        databases: {
          main: `ready: migrations of a newer release have been run: ${NEWER}`,
          products: 'ready',
        },
      })
      await request(at).get('/users').expect(200)
    },
  )

  it('says so as well when the newer one migrates while it runs, and stays ready', async () => {
    await migrate(database, 'main')
    await using service = await start({ MIGRATE_ON_START: 'true' })
    const at = await service.listening()
    expect((await request(at).get('/readyz').expect(200)).body).toMatchObject({
      databases: { main: 'ready' },
    })
    await runNewer()
    expect((await request(at).get('/readyz').expect(200)).body).toMatchObject({
      databases: { main: expect.stringContaining(NEWER) },
    })
  })

  it('is not ready before its migrations are run, says which, and is ready after them without a restart', async () => {
    await using service = await start({ MIGRATE_ON_START: 'false' })
    const at = await service.listening()
    const { body } = await request(at).get('/readyz').expect(503)
    const main: unknown = expect.stringMatching(PENDING)
    expect(body).toEqual({ status: 'not ready', databases: { main, products: 'ready' } })
    expect(service.messages).toContainEqual(
      expect.stringMatching(/^database main: migrations have not been run \(2026.*MIGRATE_ON_START=true\.$/),
    )
    await migrate(database, 'main')
    await request(at)
      .get('/readyz')
      .expect(200, { status: 'ready', databases: { main: 'ready', products: 'ready' } })
    await request(at).get('/users').expect(200, [])
  })

  it('answers 503 where its tables are missing, says so and nothing else, and logs the reason', async () => {
    await using service = await start({ MIGRATE_ON_START: 'false' })
    const at = await service.listening()
    for (const call of [
      request(at).get('/users'),
      request(at).post('/users').send({ username: 'ada', email: 'ada@example.org' }),
      request(at).post('/transfer').send({ from_account: 1, to_account: 2, amount: 1 }),
    ]) {
      const { body, headers } = await call.expect(503)
      expect(headers).toMatchObject({
        'content-type': 'application/problem+json; charset=utf-8',
        'retry-after': '10',
      })
      expect(body).toEqual({
        type: 'about:blank',
        title: 'Service Unavailable',
        status: 503,
        detail:
          'The tables of this release are not there: its migrations have not been run. Try again later.',
      })
    }
    expect(service.messages).toContain('GET /users failed')
    expect(service.everything).toContain('UndefinedNameError')
    await request(at).get('/products').expect(200)
  })

  it('answers 503 where a column is missing', async () => {
    await migrate(database, 'main')
    await database.execute('ALTER TABLE accounts RENAME COLUMN owner TO holder')
    await using service = await start({ MIGRATE_ON_START: 'true' })
    const at = await service.listening()
    await request(at).get('/accounts').expect(503)
    await request(at).post('/accounts').send({ owner: 'Ada', balance: 1 }).expect(503)
  })

  it('migrates nothing where each has what the other lacks, and says so in one line', async () => {
    await migrate(database, 'main')
    await runNewer()
    await database.execute("DELETE FROM knex_migrations_main WHERE name LIKE '%idempotency_keys%'")
    await database.execute('DROP TABLE idempotency_keys')
    await using service = await start({ MIGRATE_ON_START: 'true' })
    expect(await service.ended()).toBe(1)
    expect(service.complaints).toEqual([
      expect.stringMatching(
        /^millpond: database main has run migrations that this release does not have \(2099.*\), and lacks some .*idempotency_keys\.ts\)/,
      ),
    ])
    expect(await database.knex.schema.hasTable('idempotency_keys')).toBe(false)
  })

  it('goes on after a process was killed in the middle of a migration, also beside a newer one', async () => {
    await migrate(database, 'main')
    await runNewer()
    await database.execute('UPDATE knex_migrations_main_lock SET is_locked = 1')
    const told: string[] = []
    expect(await migrate(database, 'main', { tell: (line) => told.push(line) })).toEqual([])
    expect(told).toContain('a process has ended while it ran migrations: its lock is released')
    expect(await database.knex('knex_migrations_main_lock').pluck('is_locked')).toEqual([0])
  })
})

eachDatabase('the readiness of the service', (context) => {
  it('does not depend on a full pool, and costs it nothing', async () => {
    const [main, products] = [
      await context.open({ name: 'main', pool: { size: 1, maxOverflow: 0 } }),
      await context.open({ name: 'products' }, await context.createDatabase()),
    ]
    await migrate(main, 'main')
    await migrate(products, 'products')
    const logger = createLogger('silent')
    await using serving = await serve(createApp({ main, products, logger }), {
      port: await freePort(),
      host: '127.0.0.1',
      databases: [servedDatabase(main, 'main'), servedDatabase(products, 'products')],
      admin: { port: await freePort() },
      keepAliveGraceMillis: 0,
      signals: [],
      logger,
    })
    await request(serving.url).get('/readyz').expect(200)
    await main.connection(async () => {
      const before = main.stats()
      await request(serving.url).get('/readyz').expect(200)
      expect(main.stats()).toMatchObject({ acquired: before.acquired, timedOut: 0 })
    })
    await main.knex.migrate.rollback(migrationsFor('main'), true)
    await waitFor(() => main.stats().used === 0)
    await request(serving.url).get('/readyz').expect(503)
    const { body } = await request(serving.adminUrl ?? '')
      .get('/readyz')
      .expect(503)
    expect(body).toMatchObject({ databases: { main: expect.stringMatching(PENDING) } })
  })
})
