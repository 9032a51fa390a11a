/** Many rows in and out, each way in a process of its own: `bulk.js <section> <way> <url> <rows> <times>` prints JSON. */
import { once } from 'node:events'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { knex as connectKnex, type Knex } from 'knex'
import pg from 'pg'
import { from as copyFrom } from 'pg-copy-streams'
import Cursor from 'pg-cursor'
import { PeakMemory } from '../peak-memory'
import { sqliteReading, sqliteWriting } from './bulk-sqlite'
import { arriving, BATCH, type Bulk, INSERT, made, withDatabase } from './bulk-ways'

export interface Weighed {
  /** Of the fastest time. */
  readonly millis: number
  readonly cpuMillis: number
  /** Resident memory at its highest, and how much of that was not there before the first time. */
  readonly megabytes: number
  readonly extraMegabytes: number
}

const SELECT =
  "SELECT id, 'row number ' || id AS name, id % 1000 AS amount FROM generate_series(1, $rows) AS made(id)"
const select = (rows: number): string => SELECT.replace('$rows', String(rows))

async function withKnex(url: string, work: (knex: Knex) => Promise<number>): Promise<number> {
  const knex = connectKnex({ client: 'pg', connection: url, pool: { min: 0, max: 1 } })
  const count = await work(knex)
  await knex.destroy()
  return count
}

async function withClient(url: string, work: (client: pg.Client) => Promise<number>): Promise<number> {
  const client = new pg.Client(url)
  await client.connect()
  const count = await work(client)
  await client.end()
  return count
}

/** The first of each kind is what the others are compared with. */
const WRITING: Readonly<Record<string, Bulk>> = {
  'knex.batchInsert': (url, rows) =>
    withKnex(url, async (knex) => {
      await knex.batchInsert('numbers', [...made(rows)], BATCH)
      return rows
    }),
  executeMany: (url, rows) =>
    withDatabase(url, async (database) => (await database.executeMany(INSERT, arriving(rows))).rowCount),
  'COPY, by pg-copy-streams': (url, rows) =>
    withClient(url, async (client) => {
      const lines = function* () {
        let text = ''
        for (const { id, name, amount } of made(rows)) {
          text += `${id}\t${name}\t${amount}\n`
          if (id % BATCH < BATCH - 1) continue
          yield text
          text = ''
        }
        yield text
      }
      await pipeline(
        Readable.from(lines()),
        client.query(copyFrom('COPY numbers (id, name, amount) FROM STDIN')),
      )
      return rows
    }),
}

const READING: Readonly<Record<string, Bulk>> = {
  'knex stream': (url, rows) =>
    withKnex(url, async (knex) => {
      let count = 0
      const stream = knex.raw(select(rows)).stream()
      stream.on('data', () => (count += 1))
      await once(stream, 'end')
      return count
    }),
  iterate: (url, rows) =>
    withDatabase(url, async (database) => {
      let count = 0
      for await (const row of database.iterate<{ id: number }>(select(rows))) count += row.id > 0 ? 1 : 0
      return count
    }),
  [`pg-cursor, ${BATCH} at a time`]: (url, rows) =>
    withClient(url, async (client) => {
      const cursor = client.query(new Cursor(select(rows)))
      let count = 0
      for (let read = await cursor.read(BATCH); read.length > 0; read = await cursor.read(BATCH))
        count += read.length
      return count
    }),
}

export const SECTIONS = {
  'rows written to PostgreSQL': WRITING,
  'rows read from PostgreSQL': READING,
  'rows written to SQLite by sqlite3': sqliteWriting('sqlite3'),
  'rows written to SQLite by appthreat': sqliteWriting('appthreat'),
  'rows read from SQLite by sqlite3': sqliteReading('sqlite3'),
  'rows read from SQLite by appthreat': sqliteReading('appthreat'),
}

export type Section = keyof typeof SECTIONS

async function weigh(
  section: Section,
  name: string,
  url: string,
  rows: number,
  times: number,
): Promise<Weighed> {
  const bulk = SECTIONS[section][name]
  if (bulk === undefined) throw new Error(`there is no '${name}'`)
  const memory = new PeakMemory()
  let [least, leastCpu] = [Infinity, Infinity]
  for (let time = 0; time < times; time += 1) {
    const since = performance.now()
    const before = process.cpuUsage()
    const count = await bulk(url, rows)
    const { user, system } = process.cpuUsage(before)
    least = Math.min(least, performance.now() - since)
    leastCpu = Math.min(leastCpu, (user + system) / 1000)
    if (count !== rows) throw new Error(`${name} had ${count} rows instead of ${rows}`)
  }
  const { megabytes, extraMegabytes } = memory
  return { millis: least, cpuMillis: leastCpu, megabytes, extraMegabytes }
}

if (require.main === module) {
  const [section = '', name = '', url = '', rows, times] = process.argv.slice(2)
  void weigh(section as Section, name, url, Number(rows), Number(times)).then((weighed) =>
    process.stdout.write(JSON.stringify(weighed)),
  )
}
