/** The whole service in this process, on databases of its own, for tests that talk to it over HTTP. */
import type { Express } from 'express'
import { pino } from 'pino'
import { Database } from '../../../src/database'
import type { Serving } from '../../../src/express'
import { createApp } from '../../../src/service/app'
import { migrate } from '../../../src/service/migrations'
import { expectNoLeaks, rollbackEach } from '../../../src/testing'
import { type DatabaseContext, eachDatabase } from '../../support/each-database'
import { serveQuietly } from '../../express/support'

export interface Service {
  readonly context: DatabaseContext
  readonly url: string
  readonly main: Database
  readonly products: Database
  /** The log, as parsed JSON. */
  readonly logged: Record<string, unknown>[]
}

/**
 * Registers tests of the service once per database. The tables are empty when a test begins: because each test is rolled
 * back, or, where requests are to run at the same time or statements are counted, because they are emptied.
 */
export function eachService(
  name: string,
  tests: (service: Service) => void,
  { rollsBack = true }: { readonly rollsBack?: boolean } = {},
): void {
  eachDatabase(name, (context) => {
    const service: { -readonly [K in keyof Service]?: Service[K] } = { context }
    let main: Database
    let products: Database
    let app: Express
    let logged: Record<string, unknown>[] = []
    let serving: Serving

    beforeAll(async () => {
      const productsUrl = await context.createDatabase()
      await migrated(context.url, 'main')
      await migrated(productsUrl, 'products')
      main = new Database(context.url, { name: 'main' })
      products = new Database(productsUrl, { name: 'products' })
      const logger = pino(
        { level: 'info' },
        { write: (line) => void logged.push(JSON.parse(line) as Record<string, unknown>) },
      )
      app = createApp({ main, products, logger })
    })
    const both = [() => main, () => products]
    expectNoLeaks(...both)
    if (rollsBack) rollbackEach(...both)
    else emptyEach(context, () => [main, products])
    beforeEach(async () => {
      logged = []
      const silent = pino({ level: 'silent' })
      serving = await serveQuietly(app, { logger: silent })
      Object.assign(service, { main, products, logged, url: serving.url })
    })
    afterEach(() => serving.close())

    // Complete whenever a test runs; the members change from test to test. In a block of their own, so that their hooks
    // run inside of those above.
    describe('over HTTP', () => tests(service as Service))
  })
}

function emptyEach(context: DatabaseContext, databases: () => readonly Database[]): void {
  beforeEach(async () => {
    const [main, products] = databases().map((database) => context.track(database))
    await main?.connect()
    const tables = ['posts', 'users', 'transfers', 'accounts', 'idempotency_keys']
    for (const table of tables) await main?.execute(`DELETE FROM ${table}`)
    await products?.connect()
    await products?.execute('DELETE FROM products')
  })
}

async function migrated(url: string, folder: 'main' | 'products'): Promise<void> {
  await using database = new Database(url)
  await database.connect()
  await migrate(database, folder)
}
