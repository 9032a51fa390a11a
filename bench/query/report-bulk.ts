/** Many rows in and out as tables of Markdown. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { Database } from '../../src/database'
import { inWords, median, spread } from '../spread'
import { table } from '../table'
import { type Section, SECTIONS, type Weighed } from './bulk'
import { INSERT, made } from './bulk-ways'
import { inOwnProcess } from './report'

export interface BulkExtent {
  readonly rounds: number
  readonly written: number
  readonly read: number
}

export async function reportBulk(url: string, { rounds, written, read }: BulkExtent): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), 'millpond-bench-'))
  const file = `sqlite:///${path.join(folder, 'bulk.db')}`
  const sections: [Section, string, number][] = [
    ['rows written to PostgreSQL', url, written],
    ['rows read from PostgreSQL one by one', url, read],
    ['rows written to SQLite', file, written],
    ['rows read from SQLite one by one', file, written],
  ]
  const texts: string[] = []
  for (const [section, where, rows] of sections) {
    texts.push(`## ${rows.toLocaleString('en')} ${section}`, await report(section, where, rows, rounds))
  }
  await rm(folder, { recursive: true })
  return texts.join('\n\n')
}

async function report(section: Section, url: string, rows: number, rounds: number): Promise<string> {
  const names = Object.keys(SECTIONS[section])
  const weighed = new Map(names.map((name) => [name, [] as Weighed[]]))
  for (let round = 0; round < rounds; round += 1) {
    for (const name of round % 2 === 0 ? names : names.toReversed()) {
      await prepareTable(url, section === 'rows read from SQLite one by one' ? rows : 0)
      weighed.get(name)?.push(await inOwnProcess<Weighed>('bulk', [section, name, url, String(rows)]))
    }
  }
  const [base = []] = [...weighed.values()]
  const head = ['', 'seconds', `× ${names[0]}`, 'CPU seconds, least', 'MB, most', 'of it extra, most']
  return table(
    head,
    [...weighed].map(([name, own]) => [
      name,
      (median(own.map(({ millis }) => millis)) / 1000).toFixed(2),
      inWords(spread(own.map(({ millis }, round) => (base[round]?.millis ?? NaN) / millis))),
      (Math.min(...own.map(({ cpuMillis }) => cpuMillis)) / 1000).toFixed(2),
      Math.max(...own.map(({ megabytes }) => megabytes)).toFixed(0),
      Math.max(...own.map(({ extraMegabytes }) => extraMegabytes)).toFixed(0),
    ]),
  )
}

async function prepareTable(url: string, rows: number): Promise<void> {
  await using database = new Database(url)
  await database.connect()
  await database.execute('DROP TABLE IF EXISTS numbers')
  await database.execute('CREATE TABLE numbers (id integer PRIMARY KEY, name text, amount integer)')
  await database.executeMany(INSERT, made(rows))
}
