/** A SQLite file through a Database, with one connection and with more, against Knex over sqlite3 with one, and sqlite3 itself. */
import path from 'node:path'
import { knex as connectKnex, type Knex } from 'knex'
import { Database } from '../../src/database'
import { openPreparedFile } from '../prepared-sqlite'
import type { Group } from './verbs'
import type { Way } from './compare'

const ROWS = 1000
const POOL_SIZES = [1, 2, 3, 4]

interface Contestant {
  readonly name: string
  readonly byId: (id: number) => Promise<unknown>
  readonly insert: (title: string) => Promise<unknown>
  readonly transfer: (from: number, to: number) => Promise<unknown>
  close(): Promise<void>
}

/** Makes a file for each of them, so that none waits for another one's lock. */
export async function openSqlite(folder: string) {
  const contestants = [
    await openKnex(path.join(folder, 'knex.db')),
    await openDriver(path.join(folder, 'driver.db')),
    ...(await Promise.all(POOL_SIZES.map((size) => openDatabase(path.join(folder, `${size}.db`), size)))),
  ]
  const ways = (run: (one: Contestant, index: number) => Promise<unknown>): Way[] =>
    contestants.map((one) => ({ name: one.name, run: (index) => run(one, index) }))
  const groups: Group[] = [
    { title: 'one row by its id', ways: ways((one, i) => one.byId(1 + (i % ROWS))) },
    { title: 'an INSERT', ways: ways((one, i) => one.insert(`title ${i}`)) },
    { title: 'a transfer', ways: ways((one, i) => one.transfer(1 + (i % 20), 1 + ((i + 7) % 20))) },
  ]
  return { groups, close: () => Promise.all(contestants.map((one) => one.close())) }
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

async function openKnex(filename: string): Promise<Contestant> {
  const knex = connectKnex({ client: 'sqlite3', connection: { filename }, useNullAsDefault: true })
  // What a Database gives to a file, so that the journal is not what is compared.
  await knex.raw('PRAGMA journal_mode = WAL')
  await knex.raw('PRAGMA synchronous = NORMAL')
  await createTables(knex)
  return {
    name: 'Knex, pool of 1',
    byId: (id) => knex('people').where({ id }).first(),
    insert: (title) => knex('people').insert({ title }),
    transfer: (from, to) =>
      knex.transaction(async (trx) => {
        await trx('people').where({ id: from }).decrement('balance', 1)
        await trx('people').where({ id: to }).increment('balance', 1)
      }),
    close: () => knex.destroy(),
  }
}

async function openDriver(filename: string): Promise<Contestant> {
  // It makes the tables, and the journal.
  await (await openKnex(filename)).close()
  const file = await openPreparedFile(filename)
  const byId = await file.prepare('SELECT * FROM people WHERE id = ?')
  const insert = await file.prepare('INSERT INTO people (title) VALUES (?)')
  const change = await file.prepare('UPDATE people SET balance = balance + ? WHERE id = ?')
  return {
    name: 'sqlite3, prepared statements',
    byId: (id) => byId(id),
    insert: (title) => insert(title),
    transfer: (from, to) =>
      file.transaction(async () => {
        await change(-1, from)
        await change(1, to)
      }),
    close: () => file.close(),
  }
}

async function openDatabase(file: string, size: number): Promise<Contestant> {
  const database = new Database(`sqlite:///${file}`, { pool: { size, maxOverflow: 0 } })
  await database.connect()
  await createTables(database.knex)
  const change = 'UPDATE people SET balance = balance + :by WHERE id = :id'
  return {
    name: `millpond, pool of ${size}`,
    byId: (id) => database.fetchOne('SELECT * FROM people WHERE id = :id', { id }),
    insert: (title) => database.execute('INSERT INTO people (title) VALUES (:title)', { title }),
    transfer: (from, to) =>
      database.transaction(async (tx) => {
        await tx.execute(change, { id: from, by: -1 })
        await tx.execute(change, { id: to, by: 1 })
      }),
    close: () => database.disconnect(),
  }
}
