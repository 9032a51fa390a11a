/** The comparisons of single queries, as tables of Markdown. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import path from 'node:path'
import { onTheFirstProcessor } from '../processors'
import { inWords } from '../spread'
import { type DriverName, PACKAGES } from '../sqlite-drivers'
import { table } from '../table'
import type { ComparedGroup } from './compare'
import { CONCURRENCIES } from './sqlite'

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
  const groups = await inOwnProcess<ComparedGroup[]>('postgres', [url, String(rounds), String(millis)])
  return ['## Single queries on PostgreSQL, one after the other', ...groups.map(section)].join('\n\n')
}

export async function reportSqliteQueries(
  driver: DriverName,
  rounds: number,
  millis: number,
): Promise<string> {
  const results = await inOwnProcess<ComparedGroup[][]>('sqlite', [driver, String(rounds), String(millis)])
  return results
    .flatMap((groups, at) => [
      `## SQLite by ${PACKAGES[driver]}, ${CONCURRENCIES[at] === 1 ? 'one after the other' : `${CONCURRENCIES[at]} at a time`}`,
      ...groups.map(section),
    ])
    .join('\n\n')
}

function section({ title, compared }: ComparedGroup): string {
  const base = compared[0]?.name
  const head = ['', 'µs, least', `time / ${base}`, 'CPU µs, least', `CPU / ${base}`, 'loop p99, ms']
  const rows = compared.map(({ name, micros, ratio, cpuMicros, loopMillis }) => [
    name,
    micros.toFixed(0),
    inWords(ratio),
    cpuMicros.toFixed(1),
    (cpuMicros / (compared[0]?.cpuMicros ?? NaN)).toFixed(2),
    loopMillis.toFixed(1),
  ])
  return `### ${title}\n\n${table(head, rows)}`
}
