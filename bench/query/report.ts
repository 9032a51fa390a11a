/** The comparisons of single queries, as tables of Markdown. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import path from 'node:path'
import { onTheFirstProcessor } from '../processors'
import { inWords, type Spread } from '../spread'
import { table } from '../table'
import { type ComparedGroup, SQLITE_CONCURRENCY } from './main'

/** Runs a script of this folder in a process of its own, and reads the JSON that it prints. */
export async function inOwnProcess<T>(
  script: string,
  args: readonly string[],
  flags: string[] = [],
): Promise<T> {
  const command = [process.execPath, ...flags, path.join(__dirname, `${script}.js`), ...args]
  const [program = '', ...rest] = onTheFirstProcessor(command)
  const child = spawn(program, rest, { stdio: ['ignore', 'pipe', 'inherit'] })
  const [output, [code]] = await Promise.all([text(child.stdout), once(child, 'exit')])
  if (code !== 0) throw new Error(`${script} ${args.join(' ')} ended with ${code}`)
  return JSON.parse(output) as T
}

export async function reportQueries(url: string, rounds: number, millis: number): Promise<string> {
  const args = [url, String(rounds), String(millis)]
  const { postgresql, sqlite } = await inOwnProcess<Record<'postgresql' | 'sqlite', ComparedGroup[]>>(
    'main',
    args,
  )
  return [
    '## Single queries on PostgreSQL, one after the other',
    ...postgresql.map((group) => section(group, 'time')),
    `## SQLite, ${SQLITE_CONCURRENCY} at a time`,
    ...sqlite.map((group) => section(group, 'rate')),
  ].join('\n\n')
}

/** @param shown whether ratios are of the time that is taken, or of how often it is done in that time */
function section({ title, compared }: ComparedGroup, shown: 'time' | 'rate'): string {
  const base = compared[0]?.name
  const head = [
    '',
    'µs, least',
    shown === 'time' ? `time / ${base}` : `× ${base}`,
    'CPU µs, least',
    `CPU / ${base}`,
  ]
  const rows = compared.map(({ name, micros, ratio, cpuMicros }) => [
    name,
    micros.toFixed(0),
    inWords(shown === 'time' ? ratio : turnedOver(ratio)),
    cpuMicros.toFixed(0),
    (cpuMicros / (compared[0]?.cpuMicros ?? NaN)).toFixed(2),
  ])
  return `### ${title}\n\n${table(head, rows)}`
}

function turnedOver({ median, least, most }: Spread): Spread {
  return { median: 1 / median, least: 1 / most, most: 1 / least }
}
