/** Many rows in and out of a SQLite file, by Knex, by a Database, and by the driver. */
import { once } from 'node:events'
import { knex as connectKnex, type Knex } from 'knex'
import sqlite3 from 'sqlite3'
import { arriving, type Bulk, INSERT, made, withDatabase } from './bulk-ways'

const SELECT = 'SELECT id, name, amount FROM numbers'
const pathOf = (url: string): string => url.slice('sqlite:///'.length)

async function withKnex(url: string, work: (knex: Knex) => Promise<number>): Promise<number> {
  const connection = { filename: pathOf(url) }
  const knex = connectKnex({ client: 'sqlite3', connection, useNullAsDefault: true })
  const count = await work(knex)
  await knex.destroy()
  return count
}

export const SQLITE_WRITING: Readonly<Record<string, Bulk>> = {
  'knex.batchInsert': (url, rows) =>
    withKnex(url, async (knex) => {
      // More are too many terms for the way in which Knex writes them.
      await knex.batchInsert('numbers', [...made(rows)], 500)
      return rows
    }),
  executeMany: (url, rows) =>
    withDatabase(url, async (database) => (await database.executeMany(INSERT, arriving(rows))).rowCount),
  'sqlite3, row by row': async (url, rows) => {
    const driver = new sqlite3.Database(pathOf(url))
    const insert = driver.prepare('INSERT INTO numbers (id, name, amount) VALUES (?, ?, ?)')
    const settled = (run: (done: (error: Error | null) => void) => void) =>
      new Promise<void>((resolve, reject) => run((error) => (error === null ? resolve() : reject(error))))
    await settled((done) => driver.run('BEGIN IMMEDIATE', done))
    for (const { id, name, amount } of made(rows)) {
      await settled((done) => insert.run(id, name, amount, done))
    }
    insert.finalize()
    await settled((done) => driver.run('COMMIT', done))
    return rows
  },
}

export const SQLITE_READING: Readonly<Record<string, Bulk>> = {
  'knex stream': (url) =>
    withKnex(url, async (knex) => {
      let count = 0
      const stream = knex.raw(SELECT).stream()
      stream.on('data', () => (count += 1))
      await once(stream, 'end')
      return count
    }),
  iterate: (url) =>
    withDatabase(url, async (database) => {
      let count = 0
      for await (const row of database.iterate<{ id: number }>(SELECT)) count += row.id >= 0 ? 1 : 0
      return count
    }),
  'fetchAll, all rows at once': (url) =>
    withDatabase(url, async (database) => (await database.fetchAll(SELECT)).length),
  'sqlite3, all rows at once': (url) => {
    const driver = new sqlite3.Database(pathOf(url))
    return new Promise((resolve, reject) =>
      driver.all(SELECT, (error, rows) => (error === null ? resolve(rows.length) : reject(error))),
    )
  },
}
