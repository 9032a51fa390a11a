/** Many rows in and out of a SQLite file, by one of its drivers, by a Database over it, and by Knex. */
import { once } from 'node:events'
import { knex as connectKnex, type Knex } from 'knex'
import type sqlite3 from 'sqlite3'
import { type DriverName, fileOf, openDriver, PACKAGES, prepareOn, settled } from '../sqlite-drivers'
import { arriving, BATCH, type Bulk, INSERT, made, withDatabase } from './bulk-ways'

const SELECT = 'SELECT id, name, amount FROM numbers'

interface Numbered {
  readonly id: number
}

async function withKnex(url: string, work: (knex: Knex) => Promise<number>): Promise<number> {
  const connection = { filename: fileOf(url) }
  const knex = connectKnex({ client: 'sqlite3', connection, useNullAsDefault: true })
  const count = await work(knex)
  await knex.destroy()
  return count
}

async function withStatement(
  url: string,
  sql: string,
  work: (statement: sqlite3.Statement, db: sqlite3.Database) => Promise<number>,
): Promise<number> {
  const db = await openDriver(url)
  await settled((done) => db.exec('PRAGMA synchronous = NORMAL', done))
  const statement = await prepareOn(db, sql)
  const count = await work(statement, db)
  await new Promise<void>((done) => statement.finalize(() => done()))
  await settled((done) => db.close(done))
  return count
}

/** Rows of one statement: more gain nothing. */
const TUPLES = 500

/** So many rows by each statement, in a transaction. */
function byHand(tuples: number): Bulk {
  const sql = `INSERT INTO numbers (id, name, amount) VALUES ${Array(tuples).fill('(?, ?, ?)').join(', ')}`
  return (url, rows) =>
    withStatement(url, sql, async (insert, db) => {
      await settled((done) => db.run('BEGIN IMMEDIATE', done))
      let values: (string | number)[] = []
      for (const { id, name, amount } of made(rows)) {
        values.push(id, name, amount)
        if (values.length < tuples * 3) continue
        await settled((done) => insert.run(values, done))
        values = []
      }
      await settled((done) => db.run('COMMIT', done))
      return rows
    })
}

const executeMany: Bulk = (url, rows) =>
  withDatabase(url, async (database) => (await database.executeMany(INSERT, made(rows))).rowCount)

const executeManyArriving: Bulk = (url, rows) =>
  withDatabase(url, async (database) => (await database.executeMany(INSERT, arriving(rows))).rowCount)

/** The first of each kind is what the others are compared with. */
export function sqliteWriting(driver: DriverName): Readonly<Record<string, Bulk>> {
  return {
    [`${PACKAGES[driver]}, ${TUPLES} rows a statement`]: byHand(TUPLES),
    executeMany,
    'executeMany of an async generator': executeManyArriving,
    [`${PACKAGES[driver]}, row by row`]: byHand(1),
    ...(driver === 'sqlite3' && {
      'knex.batchInsert': (url, rows) =>
        withKnex(url, async (knex) => {
          // More are too many terms for the way in which Knex writes them.
          await knex.batchInsert('numbers', [...made(rows)], 500)
          return rows
        }),
    }),
  }
}

const iterate: Bulk = (url) =>
  withDatabase(url, async (database) => {
    let count = 0
    for await (const row of database.iterate<Numbered>(SELECT)) count += row.id >= 0 ? 1 : 0
    return count
  })

const fetchAll: Bulk = (url) =>
  withDatabase(url, async (database) => (await database.fetchAll(SELECT)).length)

const all: Bulk = (url) =>
  withStatement(url, SELECT, async (select) => (await settled<unknown[]>((done) => select.all(done))).length)

/** It cannot be held up: whoever is slower than the driver has the rest in memory. */
const each: Bulk = (url) =>
  withStatement(url, SELECT, (select) => {
    let count = 0
    return settled<number>((done) =>
      select.each<Numbered>(
        (error: Error | null, row: Numbered) => {
          if (error === null) count += row.id >= 0 ? 1 : 0
          else done(error)
        },
        (error: Error | null) => done(error, count),
      ),
    )
  })

/** One journey to the driver's thread for each row. */
const get: Bulk = (url) =>
  withStatement(url, SELECT, async (select) => {
    for (let count = 0; ; count += 1) {
      const row = await settled<Numbered | undefined>((done) => select.get<Numbered>(done))
      if (row === undefined) return count
    }
  })

interface FetchingStatement {
  fetch(count: number, done: (error: Error | null, rows: Numbered[], isAtEnd: boolean) => void): void
}

/** As many rows at a time as there are in a piece. */
const fetch: Bulk = (url) =>
  withStatement(url, SELECT, async (select) => {
    const read = () =>
      new Promise<[Numbered[], boolean]>((resolve, reject) => {
        ;(select as unknown as FetchingStatement).fetch(BATCH, (error, rows, isLast) =>
          error === null ? resolve([rows, isLast]) : reject(error),
        )
      })
    let count = 0
    for (;;) {
      const [rows, isLast] = await read()
      for (const row of rows) count += row.id >= 0 ? 1 : 0
      if (isLast) return count
    }
  })

export function sqliteReading(driver: DriverName): Readonly<Record<string, Bulk>> {
  const common = { iterate, 'fetchAll, all rows at once': fetchAll }
  const allByHand = { [`${PACKAGES[driver]}, all rows at once`]: all }
  if (driver === 'appthreat') return { [`fetch, ${BATCH} at a time`]: fetch, ...common, ...allByHand }
  const knexStream: Bulk = (url) =>
    withKnex(url, async (knex) => {
      let count = 0
      const stream = knex.raw(SELECT).stream()
      stream.on('data', () => (count += 1))
      await once(stream, 'end')
      return count
    })
  return { each, 'get, row by row': get, ...common, ...allByHand, 'knex stream': knexStream }
}
