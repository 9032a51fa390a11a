/** Reads a stream to its end in a process of its own, and prints how much memory and processor time that took. */
import { Database } from '../../src/database'

/** Two columns of that many rows, made by the database as they are asked for. */
function query(dialect: string, rows: number): string {
  return dialect === 'sqlite'
    ? `with recursive made(id) as (select 1 union all select id + 1 from made where id < ${rows})
       select id, 'row number ' || id as name from made`
    : `select id, 'row number ' || id as name from generate_series(1, ${rows}) as made(id)`
}

async function read(database: Database, rows: number): Promise<number> {
  let count = 0
  for await (const row of database.iterate<{ id: number }>(query(database.url.dialect, rows)))
    count += row.id > 0 ? 1 : 0
  return count
}

async function weigh(url: string, rows: number): Promise<void> {
  const database = new Database(url, { statementTimeoutMillis: 0 })
  await database.connect()
  // A first stream warms up, so that its compiled code is not measured.
  await read(database, 50_000)
  globalThis.gc?.()
  const before = process.memoryUsage.rss()
  let highest = before
  const sampling = setInterval(() => (highest = Math.max(highest, process.memoryUsage.rss())), 10)
  const usage = process.cpuUsage()
  const count = await read(database, rows)
  const { user, system } = process.cpuUsage(usage)
  clearInterval(sampling)
  await database.disconnect()
  const cpuMillis = (user + system) / 1000
  process.stdout.write(JSON.stringify({ count, extraMegabytes: (highest - before) / 1e6, cpuMillis }))
}

const [url = '', rows = '0'] = process.argv.slice(2)
void weigh(url, Number(rows))
