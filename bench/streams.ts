/**
 * Times and weighs streaming and bulk inserts against the plain drivers. Reports, and never fails.
 *
 *     npm run bench:streams                 one million rows read, a hundred thousand written
 *     npm run bench:streams -- --rows=1e5   shorter
 *
 * Each figure is taken in a process of its own, so that none weighs what another one has left behind.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import pg from 'pg'
import sqlite3 from 'sqlite3'
import { Database } from '../src/database'
import { startPostgres } from '../test/support/postgres-server'

interface Figures {
  readonly millis: number
  /** Resident memory at its highest, above what it was before, in MB. */
  readonly extraMegabytes: number
}

type Case = (url: string, rows: number) => Promise<void>

const SELECT = 'select id, name, amount from numbers'
const INSERT = 'insert into numbers (id, name, amount) values (:id, :name, :amount)'

const values = function* (from: number, to: number) {
  for (let id = from; id < to; id += 1) yield { id, name: `row number ${id}`, amount: id % 1000 }
}

async function withDatabase(url: string, work: (database: Database) => Promise<void>): Promise<void> {
  const database = new Database(url, { statementTimeoutMillis: 0 })
  await database.connect()
  await work(database)
  await database.disconnect()
}

async function emptied(database: Database): Promise<void> {
  await database.execute('drop table if exists numbers')
  await database.execute('create table numbers (id integer primary key, name text, amount integer)')
}

const cases: Record<string, Case> = {
  'millpond iterate': (url) =>
    withDatabase(url, async (database) => {
      let sum = 0
      for await (const row of database.iterate<{ amount: number }>(SELECT)) sum += row.amount
      if (sum === 0) throw new Error('nothing was read')
    }),
  'millpond fetchAll': (url) =>
    withDatabase(url, async (database) => {
      if ((await database.fetchAll(SELECT)).length === 0) throw new Error('nothing was read')
    }),
  'plain driver, all rows': async (url) => {
    if (url.startsWith('sqlite')) {
      const driver = new sqlite3.Database(url.slice('sqlite:///'.length))
      await new Promise((resolve) => driver.all(SELECT, resolve))
      return
    }
    const client = new pg.Client(url)
    await client.connect()
    await client.query(SELECT)
    await client.end()
  },
  'millpond executeMany': (url, rows) =>
    withDatabase(url, async (database) => {
      await emptied(database)
      await database.executeMany(INSERT, values(0, rows))
    }),
  'plain driver, row by row': async (url, rows) => {
    await withDatabase(url, emptied)
    if (url.startsWith('sqlite')) {
      const driver = new sqlite3.Database(url.slice('sqlite:///'.length))
      const run = (sql: string, ...bindings: unknown[]) =>
        new Promise((resolve, reject) =>
          driver.run(sql, bindings, (error: Error | null) => (error ? reject(error) : resolve(null))),
        )
      await run('begin immediate')
      const insert = INSERT.replace(/:\w+/g, '?')
      for (const { id, name, amount } of values(0, rows)) await run(insert, id, name, amount)
      await run('commit')
      return
    }
    const client = new pg.Client(url)
    await client.connect()
    await client.query('begin')
    const text = 'insert into numbers (id, name, amount) values ($1, $2, $3)'
    for (const { id, name, amount } of values(0, rows)) {
      await client.query({ name: 'insert', text, values: [id, name, amount] })
    }
    await client.query('commit')
    await client.end()
  },
}

async function measure(name: string, url: string, rows: number): Promise<Figures> {
  const work = cases[name]
  if (work === undefined) throw new Error(`there is no case '${name}'`)
  // Connected once before, so that code and buffers that are there anyway do not count.
  await withDatabase(url, async (database) => void (await database.fetchVal('select 1')))
  globalThis.gc?.()
  const before = process.memoryUsage.rss()
  let highest = before
  const sampling = setInterval(() => (highest = Math.max(highest, process.memoryUsage.rss())), 5)
  const started = performance.now()
  await work(url, rows)
  const millis = performance.now() - started
  clearInterval(sampling)
  highest = Math.max(highest, process.memoryUsage.rss())
  return { millis, extraMegabytes: (highest - before) / 1e6 }
}

function inOwnProcess(name: string, url: string, rows: number): Figures {
  const args = [
    '--expose-gc',
    ...process.execArgv,
    __filename,
    `--case=${name}`,
    `--url=${url}`,
    `--rows=${rows}`,
  ]
  return JSON.parse(execFileSync(process.execPath, args, { encoding: 'utf8' })) as Figures
}

async function report(rows: number): Promise<void> {
  const folder = mkdtempSync(path.join(tmpdir(), 'millpond-bench-'))
  const server = await startPostgres()
  const urls = { SQLite: `sqlite:///${path.join(folder, 'bench.db')}`, PostgreSQL: server.url }
  console.log(`node ${process.version}, ${rows} rows read, ${rows / 10} written; one process each\n`)
  console.log('| database | case | seconds | extra memory, MB |\n| --- | --- | --- | --- |')
  for (const [title, url] of Object.entries(urls)) {
    for (const name of ['millpond executeMany', 'plain driver, row by row']) {
      print(title, name, inOwnProcess(name, url, rows / 10))
    }
    await withDatabase(url, async (database) => {
      await emptied(database)
      await database.executeMany(INSERT, values(0, rows))
    })
    for (const name of ['millpond iterate', 'millpond fetchAll', 'plain driver, all rows']) {
      print(title, name, inOwnProcess(name, url, rows))
    }
  }
  await server.stop()
  rmSync(folder, { recursive: true })
}

function print(title: string, name: string, { millis, extraMegabytes }: Figures): void {
  console.log(`| ${title} | ${name} | ${(millis / 1000).toFixed(2)} | ${extraMegabytes.toFixed(0)} |`)
}

const { values: options } = parseArgs({
  options: {
    case: { type: 'string' },
    url: { type: 'string' },
    rows: { type: 'string', default: '1000000' },
  },
})
if (options.case !== undefined && options.url !== undefined) {
  void measure(options.case, options.url, Number(options.rows)).then((figures) =>
    console.log(JSON.stringify(figures)),
  )
} else {
  void report(Number(options.rows))
}
