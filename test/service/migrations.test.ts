/** The migrations and seeds of the service: by `migrate`, by Knex's command line, and both on the same database. */
import { execFile } from 'node:child_process'
import { readdirSync } from 'node:fs'
import path from 'node:path'
import { promisify } from 'node:util'
import { type Folder, migrate, migrationsFor, seedsFor } from '../../src/service/migrations'
import { compiledFolder } from '../support/compiled'
import { eachDatabase } from '../support/each-database'

const root = path.resolve(__dirname, '..', '..')
const run = promisify(execFile)
const filesOf = (folder: Folder): string[] => readdirSync(path.join(root, 'migrations', folder)).toSorted()
const MAIN = filesOf('main')
const PRODUCTS = filesOf('products')

eachDatabase('migrate', (context) => {
  const tables = async (): Promise<string[]> => {
    const database = await context.open()
    const names = ['users', 'posts', 'accounts', 'products']
    const found = await Promise.all(names.map((name) => database.knex.schema.hasTable(name)))
    return names.filter((_name, index) => found[index])
  }

  it('makes the tables of one database, says what it ran, and has nothing to do the second time', async () => {
    const database = await context.open()
    expect(await migrate(database, 'main')).toEqual(MAIN)
    expect(await migrate(database, 'main')).toEqual([])
    expect(await tables()).toEqual(['users', 'posts', 'accounts'])
  })

  it('can have both folders in one database', async () => {
    const database = await context.open()
    expect(await migrate(database, 'products')).toEqual(PRODUCTS)
    expect(await tables()).toEqual(['users', 'posts', 'accounts', 'products'])
  })

  it('lets the database refuse what the service must never store', async () => {
    const database = await context.open()
    const ada = { username: 'ada', email: 'ada@example.org' }
    await database.execute(database.table('users').insert(ada))
    const refused = async (statement: Parameters<typeof database.execute>[0]): Promise<unknown> =>
      database.execute(statement).catch((error: unknown) => error)

    expect(await refused(database.table('users').insert(ada))).toMatchObject({ code: 'UNIQUE_VIOLATION' })
    expect(await refused(database.table('users').insert({ ...ada, username: 'grace' }))).toMatchObject({
      code: 'UNIQUE_VIOLATION',
    })
    expect(
      await refused(database.table('posts').insert({ title: 'A', content: 'B', author_id: 1000 })),
    ).toMatchObject({ code: 'FOREIGN_KEY_VIOLATION' })
    expect(await refused(database.table('accounts').insert({ owner: 'Ada', balance: -1 }))).toMatchObject({
      code: 'CHECK_VIOLATION',
      constraint: 'accounts_balance_check',
    })
    expect(await refused(database.table('products').insert({ name: 'Rye', price: -1 }))).toMatchObject({
      code: 'CHECK_VIOLATION',
      constraint: 'products_price_check',
    })
  })

  it('takes posts away with their author', async () => {
    const database = await context.open()
    const id = await database.fetchVal('select id from users where username = :name', { name: 'ada' })
    await database.execute(database.table('posts').insert({ title: 'A', content: 'B', author_id: id }))
    await database.execute('delete from users')
    expect(Number(await database.fetchVal('select count(*) from posts'))).toBe(0)
  })

  it('takes everything back in a rollback', async () => {
    const database = await context.open()
    await database.knex.migrate.rollback(migrationsFor('main'), true)
    expect(await tables()).toEqual(['products'])
    await database.knex.migrate.rollback(migrationsFor('products'), true)
    expect(await tables()).toEqual([])
  })
})

eachDatabase('the seeds', (context) => {
  const counts = async (): Promise<Record<string, number>> => {
    const database = await context.open()
    const names = ['users', 'posts', 'accounts', 'products']
    const found = await Promise.all(names.map((name) => database.fetchVal(`select count(*) from ${name}`)))
    return Object.fromEntries(names.map((name, index) => [name, Number(found[index])]))
  }

  it('go once into a new database, whoever starts it at the same time', async () => {
    const databases = await Promise.all(Array.from({ length: 5 }, () => context.open()))
    const ran = await Promise.all(
      databases.map(async (database) => [
        ...(await migrate(database, 'main', { seed: true })),
        ...(await migrate(database, 'products', { seed: true })),
      ]),
    )
    expect(ran.flat()).toHaveLength(MAIN.length + PRODUCTS.length)
    expect(await counts()).toEqual({ users: 5, posts: 6, accounts: 4, products: 6 })
  })

  it('do not come back when somebody has deleted them', async () => {
    const database = await context.open()
    const names = ['posts', 'users', 'accounts', 'products']
    for (const name of names) await database.execute(`delete from ${name}`)
    for (const folder of ['main', 'products'] as const) await migrate(database, folder, { seed: true })
    expect(await counts()).toEqual({ users: 0, posts: 0, accounts: 0, products: 0 })
  })

  it('leave a table alone that has rows, however often they are asked for', async () => {
    const database = await context.open()
    await database.execute(database.table('users').insert({ username: 'me', email: 'me@example.org' }))
    for (const folder of ['main', 'main', 'products', 'products'] as const) {
      await database.knex.seed.run(seedsFor(folder))
    }
    expect(await counts()).toEqual({ users: 1, posts: 0, accounts: 4, products: 6 })
    await database.execute('delete from users')
    await database.knex.seed.run(seedsFor('main'))
    expect(await counts()).toEqual({ users: 5, posts: 6, accounts: 4, products: 6 })
  })

  it('leave the next id free', async () => {
    const database = await context.open()
    for (const [table, row] of [
      ['users', { username: 'next', email: 'next@example.org' }],
      ['posts', { title: 'Next', content: '', author_id: database.table('users').min('id') }],
      ['accounts', { owner: 'Next' }],
      ['products', { name: 'Next', price: 1 }],
    ] as const) {
      await database.execute(database.table(table).insert(row))
    }
    expect(await counts()).toEqual({ users: 6, posts: 7, accounts: 5, products: 7 })
  })
})

eachDatabase('the Knex command line', (context) => {
  // Each of its starts reads all of Knex and compiles the migrations.
  jest.setTimeout(120_000)
  let urls: Record<Folder, string>

  const node = async (cwd: string, ...args: string[]): Promise<string> => {
    const env = {
      ...process.env,
      DATABASE_URL: urls.main,
      PRODUCTS_DATABASE_URL: urls.products,
      NODE_ENV: 'test',
    }
    const { stdout } = await run(process.execPath, args, { cwd, env })
    return stdout
  }
  const knex = (...args: string[]): Promise<string> => node(root, 'node_modules/knex/bin/cli.js', ...args)

  beforeAll(async () => {
    urls = { main: context.url, products: await context.createDatabase() }
  })

  it('migrates, seeds, tells the state of and rolls back the main database', async () => {
    expect(await knex('migrate:status')).toContain(`Found ${MAIN.length} Pending Migration`)
    expect(await knex('migrate:latest')).toContain(`Batch 1 run: ${MAIN.length} migrations`)
    expect(await knex('migrate:status')).toContain('No Pending Migration files Found')
    expect(await knex('seed:run')).toContain('Ran 2 seed files')
    expect(await knex('migrate:rollback')).toContain(`Batch 1 rolled back: ${MAIN.length} migrations`)
  })

  it('does the same to the other database by --env', async () => {
    expect(await knex('migrate:latest', '--env', 'products')).toContain(
      `Batch 1 run: ${PRODUCTS.length} migrations`,
    )
    expect(await knex('seed:run', '--env', 'products')).toContain('Ran 1 seed files')
    expect(await knex('migrate:rollback', '--env', 'products')).toContain(
      `Batch 1 rolled back: ${PRODUCTS.length} migrations`,
    )
  })

  it('agrees with the compiled service on what has run, whoever ran it', async () => {
    const service = `
      const { Database } = require('./src/database')
      const { migrate } = require('./src/service/migrations')
      const database = new Database(process.env.DATABASE_URL)
      database.connect()
        .then(() => migrate(database, 'main', { seed: true }))
        .then((names) => console.log(names.length, 'migrations'))
        .finally(() => database.disconnect())`
    const serviceRuns = (): Promise<string> => node(compiledFolder(), '-e', service)

    expect(await serviceRuns()).toContain(`${MAIN.length} migrations`)
    expect(await knex('migrate:rollback')).toContain(`${MAIN.length} migrations`)
    expect(await knex('migrate:latest')).toContain(`${MAIN.length} migrations`)
    expect(await serviceRuns()).toContain('0 migrations')
  })
})
