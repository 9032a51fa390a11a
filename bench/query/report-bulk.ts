/** Many rows in and out as tables of Markdown. */
import pg from 'pg'
import { inWords, median, spread } from '../spread'
import { table } from '../table'
import { READING, type Weighed, WRITING } from './bulk'
import { inOwnProcess } from './report'

export interface BulkExtent {
  readonly rounds: number
  readonly written: number
  readonly read: number
}

export async function reportBulk(url: string, { rounds, written, read }: BulkExtent): Promise<string> {
  return [
    `## ${written.toLocaleString('en')} rows written`,
    await section(Object.keys(WRITING), url, written, rounds),
    `## ${read.toLocaleString('en')} rows read one by one`,
    await section(Object.keys(READING), url, read, rounds),
  ].join('\n\n')
}

async function section(names: readonly string[], url: string, rows: number, rounds: number): Promise<string> {
  const weighed = new Map(names.map((name) => [name, [] as Weighed[]]))
  for (let round = 0; round < rounds; round += 1) {
    for (const name of round % 2 === 0 ? names : names.toReversed()) {
      await emptyTable(url)
      weighed.get(name)?.push(await inOwnProcess<Weighed>('bulk', [name, url, String(rows)]))
    }
  }
  const [base = []] = [...weighed.values()]
  const head = ['', 'seconds', `× ${names[0]}`, 'CPU seconds, least', 'MB, most']
  return table(
    head,
    [...weighed].map(([name, own]) => [
      name,
      (median(own.map(({ millis }) => millis)) / 1000).toFixed(2),
      inWords(spread(own.map(({ millis }, round) => (base[round]?.millis ?? NaN) / millis))),
      (Math.min(...own.map(({ cpuMillis }) => cpuMillis)) / 1000).toFixed(2),
      Math.max(...own.map(({ megabytes }) => megabytes)).toFixed(0),
    ]),
  )
}

async function emptyTable(url: string): Promise<void> {
  const client = new pg.Client(url)
  await client.connect()
  await client.query('DROP TABLE IF EXISTS numbers')
  await client.query('CREATE TABLE numbers (id integer PRIMARY KEY, name text, amount integer)')
  await client.end()
}
