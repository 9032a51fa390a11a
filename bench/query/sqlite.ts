/**
 * The library over one of SQLite's drivers against that driver by itself: `sqlite.js <driver> <rounds> <millis>` prints JSON.
 * A process for each driver, as an application has one.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { knex as connectKnex, type Knex } from 'knex'
import { Database } from '../../src/database'
import { type DriverName, openPreparedFile, PACKAGES, urlOf } from '../sqlite-drivers'
import { compareAll, type ComparedGroup, type Way } from './compare'

const ROWS = 1000
const POOL_SIZES = [1, 4]
/** One after the other, as the must of the ratios is meant, and as behind a server with as many clients. */
export const CONCURRENCIES = [1, 64] as const

const BY_ID = 'SELECT * FROM people WHERE id = '
const FIFTY = 'SELECT * FROM people ORDER BY id LIMIT 50'
const INSERT = 'INSERT INTO people (title) VALUES '

interface Contestant {
  readonly name: string
  readonly byId: (id: number) => Promise<unknown>
  readonly fifty: () => Promise<unknown>
  readonly insert: (title: string) => Promise<unknown>
  /** Of four statements: BEGIN, two UPDATEs, COMMIT. */
  readonly transfer: (from: number, to: number) => Promise<unknown>
  close(): Promise<void>
}

/** Makes a file for each of them, so that none waits for another one's lock. */
async function openAll(driver: DriverName, folder: string): Promise<readonly Contestant[]> {
  const file = (name: string): string => path.join(folder, `${name}.db`)
  return [
    await openByHand(driver, file('driver')),
    ...(await Promise.all(POOL_SIZES.map((size) => openDatabase(driver, file(String(size)), size)))),
    ...(driver === 'sqlite3' ? [await openKnex(file('knex'))] : []),
  ]
}

async function openByHand(driver: DriverName, filename: string): Promise<Contestant> {
  const url = urlOf(driver, filename)
  // It makes the tables, and the journal.
  await (await openDatabase(driver, filename, 1)).close()
  const file = await openPreparedFile(url)
  const byId = await file.all(`${BY_ID}?`)
  const fifty = await file.all(FIFTY)
  const insert = await file.run(`${INSERT}(?)`)
  const change = await file.run('UPDATE people SET balance = balance + ? WHERE id = ?')
  return {
    name: `${PACKAGES[driver]} by hand`,
    byId: async (id) => (await byId(id))[0],
    fifty: () => fifty(),
    insert: (title) => insert(title),
    transfer: (from, to) =>
      file.transaction(async () => {
        await change(-1, from)
        await change(1, to)
      }),
    close: () => file.close(),
  }
}

async function openDatabase(driver: DriverName, file: string, size: number): Promise<Contestant> {
  const database = new Database(urlOf(driver, file), { pool: { size, maxOverflow: 0 } })
  await database.connect()
  await createTables(database.knex)
  const change = 'UPDATE people SET balance = balance + :by WHERE id = :id'
  return {
    name: `millpond, pool of ${size}`,
    byId: (id) => database.fetchOne(`${BY_ID}:id`, { id }),
    fifty: () => database.fetchAll(FIFTY),
    insert: (title) => database.execute(`${INSERT}(:title)`, { title }),
    transfer: (from, to) =>
      database.transaction(async (tx) => {
        await tx.execute(change, { id: from, by: -1 })
        await tx.execute(change, { id: to, by: 1 })
      }),
    close: () => database.disconnect(),
  }
}

async function openKnex(filename: string): Promise<Contestant> {
  const knex = connectKnex({ client: 'sqlite3', connection: { filename }, useNullAsDefault: true })
  // What a Database gives to a file, so that the journal is not what is compared.
  await knex.raw('PRAGMA journal_mode = WAL')
  await knex.raw('PRAGMA synchronous = NORMAL')
  await createTables(knex)
  return {
    name: 'Knex, pool of 1',
    byId: (id) => knex('people').where({ id }).first(),
    fifty: () => knex('people').orderBy('id').limit(50),
    insert: (title) => knex('people').insert({ title }),
    transfer: (from, to) =>
      knex.transaction(async (trx) => {
        await trx('people').where({ id: from }).decrement('balance', 1)
        await trx('people').where({ id: to }).increment('balance', 1)
      }),
    close: () => knex.destroy(),
  }
}

async function createTables(knex: Knex): Promise<void> {
  await knex.schema.createTable('people', (table) => {
    table.increments('id')
    table.text('title').notNullable()
    table.integer('balance').notNullable().defaultTo(0)
  })
  const rows = Array.from({ length: ROWS }, (_, index) => ({ title: `title ${index}`, balance: 1_000_000 }))
  await knex.batchInsert('people', rows, 100)
}

/** The groups at each of the concurrencies. */
async function run(driver: DriverName, rounds: number, millis: number): Promise<ComparedGroup[][]> {
  const folder = await mkdtemp(path.join(tmpdir(), 'millpond-bench-'))
  const contestants = await openAll(driver, folder)
  const ways = (work: (one: Contestant, index: number) => Promise<unknown>): Way[] =>
    contestants.map((one) => ({ name: one.name, run: (index) => work(one, index) }))
  const groups = [
    { title: 'one row by its id', ways: ways((one, i) => one.byId(1 + (i % ROWS))) },
    { title: '50 rows', ways: ways((one) => one.fifty()) },
    { title: 'an INSERT', ways: ways((one, i) => one.insert(`title ${i}`)) },
    { title: 'a transfer', ways: ways((one, i) => one.transfer(1 + (i % 20), 1 + ((i + 7) % 20))) },
  ]
  const results: ComparedGroup[][] = []
  for (const concurrency of CONCURRENCIES)
    results.push(await compareAll(groups, { rounds, millis, concurrency }))
  for (const one of contestants) await one.close()
  await rm(folder, { recursive: true })
  return results
}

if (require.main === module) {
  const [driver = '', rounds, millis] = process.argv.slice(2)
  void run(driver as DriverName, Number(rounds), Number(millis)).then((results) =>
    process.stdout.write(JSON.stringify(results)),
  )
}
