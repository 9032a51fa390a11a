/**
 * Measures this service and its library beside other ways to do the same. Reports, and fails on errors only, never on
 * times. Without flags, the report is also written to bench/RESULTS.md.
 *
 *     npm run bench                        everything
 *     npm run bench -- --quick             everything, shortly
 *     npm run bench -- --parts=http --stacks=service,N1,N5b --endpoints=user --concurrency=64 --rounds=5
 *     npm run bench -- --parts=sqlite,query,bulk,drivers,start
 *     npm run bench -- --node=24           the same on another release of Node, which npm fetches
 *
 * --window and --warm-up are the seconds for which a stack is loaded: each time, and once before.
 */
import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { cpus, tmpdir } from 'node:os'
import path from 'node:path'
import { type PostgresServer, startPostgres } from '../test/support/postgres-server'
import { type Place, type Prepared, prepare } from './http/prepare'
import { prepareSqlite } from './http/prepare-sqlite'
import { reportWindows } from './http/report'
import { measure, type Plan, type Window, warmUp } from './http/rounds'
import { checkAnswers } from './http/same-answers'
import { type Server, startServer } from './http/server-process'
import { reportStarts } from './http/starting'
import { hasTutorial, root, SQLITE_STACKS, type Stack } from './http/stacks'
import { programOf } from './node-release'
import { type Options, readOptions, type Part } from './options'
import { leaveTheFirstProcessor, PINNING } from './processors'
import { reportQueries, reportSqliteQueries } from './query/report'
import { type BulkExtent, reportBulk, reportSqliteBulk } from './query/report-bulk'
import { RUNNING_HERE } from './sqlite-drivers'

/** `postgres` starts a server when it is called first. */
type Measure = (options: Options, postgres: () => Promise<Prepared>) => Promise<string>

const reportHttp: Measure = async ({ stacks, plan }, postgres) => {
  const tables = await reportEndpoints(stacks, plan, await postgres())
  return `## Endpoints on PostgreSQL\n\n${legend(stacks, plan)}\n\n${tables}`
}

const reportSqlite: Measure = async ({ plan }) => {
  const folder = await mkdtemp(path.join(tmpdir(), 'millpond-bench-'))
  try {
    const stacks = SQLITE_STACKS
    const tables = await reportEndpoints(stacks, plan, await prepareSqlite(folder, stacks))
    return `## Endpoints on SQLite\n\n${named(stacks)}\n\n${tables}`
  } finally {
    await rm(folder, { recursive: true })
  }
}

const reportDrivers: Measure = async (options) => {
  const texts: string[] = []
  for (const driver of RUNNING_HERE) {
    texts.push(await reportSqliteQueries(driver, ...queryExtent(options)))
    texts.push(await reportSqliteBulk(driver, bulkExtent(options)))
  }
  return texts.join('\n\n')
}

const MEASURES: Readonly<Record<Part, Measure>> = {
  http: reportHttp,
  sqlite: reportSqlite,
  start: async ({ stacks, isQuick }, postgres) => reportStarts(stacks, isQuick ? 2 : 7, await postgres()),
  query: async (options, postgres) => reportQueries((await postgres()).url, ...queryExtent(options)),
  bulk: async (options, postgres) => reportBulk((await postgres()).url, bulkExtent(options)),
  drivers: reportDrivers,
}

/** Rounds, and for how long a way runs in each. */
function queryExtent({ isQuick }: Options): [rounds: number, millis: number] {
  return isQuick ? [4, 150] : [15, 500]
}

function bulkExtent({ isQuick, plan: { rounds } }: Options): BulkExtent {
  return { rounds, written: 100_000, read: isQuick ? 100_000 : 1_000_000 }
}

async function reportEndpoints(stacks: readonly Stack[], plan: Plan, place: Place): Promise<string> {
  const servers: Server[] = []
  const windows: Window[] = []
  try {
    for (const stack of stacks) servers.push(await startServer(stack, place.environmentOf(stack)))
    await checkAnswers(servers)
    await warmUp(servers, plan)
    for await (const window of measure(servers, plan, place)) {
      windows.push(window)
      const { round, endpoint, concurrency, stack, perSecond, serverMicros } = window
      const figures = `${perSecond.toFixed(0)}/s, ${serverMicros.toFixed(0)} µs`
      console.error(`round ${round + 1}, ${endpoint}, ${concurrency} at a time, ${stack}: ${figures}`)
    }
    await place.checkMoney()
  } finally {
    await Promise.all(servers.map((server) => server.stop()))
  }
  return reportWindows(windows)
}

function legend(stacks: readonly Stack[], { rounds, windowMillis, warmUpMillis }: Plan): string {
  return [
    `Rounds: ${rounds}. In each, every stack is loaded for ${windowMillis / 1000} s, one after the other, the order turned ` +
      `around each time, after ${warmUpMillis / 1000} s of all endpoints. Throughput as a multiple of a base: the median ` +
      'of the ratios within a round, and in parentheses the least and the most. Server CPU for one request: the least ' +
      'of all rounds, and ratios of these. “Foreign” is how many processors were busy with something else: where it is ' +
      'far from 0, believe the CPU and not the rest. “Failed” counts answers that were not 2xx.',
    named(stacks),
    ...(hasTutorial
      ? []
      : ['P1 and P2, the tutorial’s stacks, were left out: their Debian packages are not installed.']),
  ].join('\n\n')
}

function named(stacks: readonly Stack[]): string {
  return stacks.map(({ id, title }) => `* **${id}**: ${title}`).join('\n')
}

function versions(): string {
  const { devDependencies, dependencies } = JSON.parse(
    readFileSync(path.join(root, 'package.json'), 'utf8'),
  ) as Record<string, Record<string, string>>
  const compared =
    'express knex pg pg-cursor pg-copy-streams sqlite3 @appthreat/sqlite3 fastify postgres kysely drizzle-orm sequelize typeorm'.split(
      ' ',
    )
  const installed = Object.keys({ ...dependencies, ...devDependencies }).filter((name) =>
    compared.includes(name),
  )
  return installed.map((name) => `${name} ${versionOf(name)}`).join(', ')
}

function versionOf(name: string): string {
  const file = path.join(root, 'node_modules', name, 'package.json')
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version
}

function introduction(prepared: Prepared | undefined, started: Date): string {
  const processors = cpus()
  const minutes = Math.ceil((Date.now() - started.getTime()) / 60_000)
  const command = ['npm run bench', ...process.argv.slice(2)].join(' ').replace(' --', ' -- --')
  const postgres =
    prepared === undefined
      ? ''
      : ` PostgreSQL ${prepared.version} with fsync off, so that writes cost processor time instead of the disk's: with ` +
        'it, stacks differ less in writing.'
  return [
    '# Results',
    `Written by \`${command}\` on ${started.toISOString().slice(0, 10)}, in ${minutes} minutes, on ` +
      `${processors.length} × ${processors[0]?.model ?? 'unknown'}, ${process.platform}.`,
    `Node ${process.version}.${postgres} ${versions()}. Pools of 10; ${PINNING}.`,
  ].join('\n\n')
}

async function run(options: Options): Promise<void> {
  const started = new Date()
  leaveTheFirstProcessor()
  let server: PostgresServer | undefined
  let prepared: Prepared | undefined
  const postgres = async (): Promise<Prepared> => {
    server ??= await startPostgres({ shared_buffers: '512MB' })
    return (prepared ??= await prepare(server.url))
  }
  try {
    const sections: string[] = []
    for (const part of options.parts) sections.push(await MEASURES[part](options, postgres))
    const report = `${[introduction(prepared, started), ...sections].join('\n\n')}\n`
    console.log(report)
    if (options.isWhole) writeFileSync(path.join(root, 'bench', 'RESULTS.md'), report)
  } finally {
    await server?.stop()
  }
}

const options = readOptions()
const program = options.node === undefined ? process.execPath : programOf(options.node)
if (program === process.execPath) {
  void run(options)
} else {
  const { status } = spawnSync(program, [__filename, ...process.argv.slice(2)], { stdio: 'inherit' })
  process.exitCode = status ?? 1
}
