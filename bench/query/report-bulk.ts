/** Many rows in and out as tables of Markdown. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { Database } from '../../src/database'
import { inWords, median, spread } from '../spread'
import { type DriverName, urlOf } from '../sqlite-drivers'
import { table } from '../table'
import { type Section, SECTIONS, type Weighed } from './bulk'
import { INSERT, made } from './bulk-ways'
import { inOwnProcess } from './report'

export interface BulkExtent {
  readonly rounds: number
  readonly written: number
  readonly read: number
}

export async function reportBulk(url: string, extent: BulkExtent): Promise<string> {
  const sections: Section[] = ['rows written to PostgreSQL', 'rows read from PostgreSQL']
  return (await reportSections(sections, url, extent)).join('\n\n')
}

export async function reportSqliteBulk(driver: DriverName, extent: BulkExtent): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), 'millpond-bench-'))
  const url = urlOf(driver, path.join(folder, 'bulk.db'))
  const sections: Section[] = [`rows written to SQLite by ${driver}`, `rows read from SQLite by ${driver}`]
  const texts = await reportSections(sections, url, extent)
  await rm(folder, { recursive: true })
  return texts.join('\n\n')
}

async function reportSections(
  sections: readonly Section[],
  url: string,
  { rounds, written, read }: BulkExtent,
): Promise<string[]> {
  const texts: string[] = []
  for (const section of sections) {
    const isWriting = section.startsWith('rows written')
    const rows = isWriting ? written : read
    texts.push(`## ${rows.toLocaleString('en')} ${section}`)
    texts.push(await report(section, isWriting, url, { rows, rounds }))
  }
  return texts
}

/** So often does a process write, so that it is not measured how long its code takes to be compiled. */
const TIMES = 3

async function report(
  section: Section,
  isWriting: boolean,
  url: string,
  { rows, rounds }: { readonly rows: number; readonly rounds: number },
): Promise<string> {
  const names = Object.keys(SECTIONS[section])
  const weighed = new Map(names.map((name) => [name, [] as Weighed[]]))
  await makeTable(url, isWriting ? 0 : rows)
  for (let round = 0; round < rounds; round += 1) {
    for (const name of round % 2 === 0 ? names : names.toReversed()) {
      if (isWriting) await makeTable(url, 0)
      const args = [section, name, url, String(rows), String(isWriting ? TIMES : 1)]
      weighed.get(name)?.push(await inOwnProcess<Weighed>('bulk', args))
    }
  }
  const cpuOf = (own: readonly Weighed[]): number => Math.min(...own.map(({ cpuMillis }) => cpuMillis))
  const [base = []] = [...weighed.values()]
  const head = [
    '',
    'seconds',
    `× ${names[0]}`,
    'CPU µs a row, least',
    `CPU / ${names[0]}`,
    'MB, most',
    'of it extra, most',
  ]
  return table(
    head,
    [...weighed].map(([name, own]) => [
      name,
      (median(own.map(({ millis }) => millis)) / 1000).toFixed(2),
      inWords(spread(own.map(({ millis }, round) => (base[round]?.millis ?? NaN) / millis))),
      ((cpuOf(own) / rows) * 1000).toFixed(2),
      (cpuOf(own) / cpuOf(base)).toFixed(2),
      Math.max(...own.map(({ megabytes }) => megabytes)).toFixed(0),
      Math.max(...own.map(({ extraMegabytes }) => extraMegabytes)).toFixed(0),
    ]),
  )
}

async function makeTable(url: string, rows: number): Promise<void> {
  await using database = new Database(url)
  await database.connect()
  await database.execute('DROP TABLE IF EXISTS numbers')
  await database.execute('CREATE TABLE numbers (id integer, name text, amount integer)')
  await database.executeMany(INSERT, made(rows))
}
