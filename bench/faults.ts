/**
 * Tries faults of the database on millpond and on plain Knex, and prints what each made of them. Asserts nothing.
 *
 *     npm run bench:faults                 some four minutes
 *     npm run bench:faults -- --quick      the longest fault cut short
 *
 * Each fault is tried in a process and on a PostgreSQL of its own, so that none feels what another one has left behind.
 */
import { execFile } from 'node:child_process'
import { parseArgs, promisify } from 'node:util'
import { aborted } from '../test/support/faults/aborted'
import { countTogether } from '../test/support/faults/count-together'
import type { CounterName } from '../test/support/faults/counters'
import { figuresOf } from '../test/support/faults/counting-figures'
import { disconnected } from '../test/support/faults/disconnected'
import { frozen } from '../test/support/faults/frozen'
import { full } from '../test/support/faults/full'
import { killed } from '../test/support/faults/killed'
import { plainKnex } from '../test/support/faults/knex-subject'
import { millpond } from '../test/support/faults/millpond-subject'
import type { Candidate, Figures } from '../test/support/faults/subject'
import { terminated } from '../test/support/faults/terminated'
import { REASONS, unreachable } from '../test/support/faults/unreachable'
import { type MortalPostgres, startMortalPostgres } from '../test/support/mortal-postgres'
import { ScratchSqlite } from '../test/support/scratch-sqlite'

type Scenario = (candidate: Candidate, server: MortalPostgres, isQuick: boolean) => Promise<Figures>

const LONGEST_MILLIS = 120_000
const QUICK_MILLIS = 3000
const CANDIDATES = [millpond, plainKnex]

const scenarios: Readonly<Record<string, Scenario>> = {
  'killed under load, back after 2 s': killed,
  'a backend terminated every 100 ms': (candidate, { url }, isQuick) =>
    isQuick ? terminated(candidate, url, QUICK_MILLIS) : terminated(candidate, url),
  'frozen for 5 s, deadlines of 1500 ms': frozen,
  ...Object.fromEntries(
    REASONS.map((reason): [string, Scenario] => [
      `out of reach: ${reason}`,
      async (candidate, { url }) => ({ ...(await unreachable(candidate, url, reason)) }),
    ]),
  ),
  'all connections in use': (candidate, { url }) => full(candidate, url),
  '1,000 calls aborted': async (candidate, { url }) =>
    candidate === millpond ? aborted(url) : { note: 'has no AbortSignal' },
  'closed with a stuck statement': (candidate, { url }) => disconnected(candidate, url),
  'SQLite, four processes with 8 writers each on one file': ({ name }, _server, isQuick) =>
    oneFile(name, isQuick ? QUICK_MILLIS : 5000),
}

/** Every process reads a row and writes it, in transactions. PostgreSQL has no part in it. */
async function oneFile(candidate: string, millis: number): Promise<Figures> {
  const scratch = new ScratchSqlite('sqlite3')
  const load = { writers: 8, readers: 2, millis }
  const counter = candidate as CounterName
  const reports = await countTogether({ counter, url: await scratch.create(), processes: 4, load })
  const { transactions, failed, slowestMillis, medianMillis, perProcess } = figuresOf(reports)
  await scratch.dropAll()
  return { transactions, failed, slowestMillis, medianMillis, perProcess: perProcess.join(', ') }
}

/** Runs one scenario with one candidate and prints its figures as JSON. */
async function measure(fault: string, name: string, isQuick: boolean): Promise<void> {
  const scenario = scenarios[fault]
  const candidate = CANDIDATES.find((one) => one.name === name)
  if (scenario === undefined || candidate === undefined)
    throw new Error(`There is no '${fault}' of '${name}'`)
  // What would have ended an application; here it is counted, so that the rest can be measured.
  let crashes = 0
  process.on('uncaughtException', () => (crashes += 1))
  const server = await startMortalPostgres()
  const figures = await scenario(candidate, server, isQuick)
  await server.stop()
  const shown = Object.entries({ ...figures, uncaughtErrors: crashes }).map(([figure, value]) => [
    figure,
    typeof value === 'string' ? value : rounded(value),
  ])
  // A pool that did not close would keep the process alive.
  process.stdout.write(JSON.stringify(Object.fromEntries(shown)), () => process.exit())
}

function rounded(value: number): string {
  return Number.isNaN(value) ? 'never' : String(Math.round(value))
}

async function inOwnProcess(fault: string, candidate: Candidate, isQuick: boolean): Promise<Figures> {
  const options = [`--fault=${fault}`, `--candidate=${candidate.name}`, ...(isQuick ? ['--quick'] : [])]
  try {
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [...process.execArgv, __filename, ...options],
      { timeout: LONGEST_MILLIS, killSignal: 'SIGKILL' },
    )
    return JSON.parse(stdout) as Figures
  } catch (error) {
    console.error(error)
    return { note: 'could not be measured' }
  }
}

async function report(isQuick: boolean): Promise<void> {
  console.log(`node ${process.version}, PostgreSQL with 10 connections, 16 clients where there is load\n`)
  console.log(`| fault | figure | millpond | plain Knex 3.3 |\n| --- | --- | --- | --- |`)
  for (const fault of Object.keys(scenarios)) {
    const found: Figures[] = []
    for (const candidate of CANDIDATES) found.push(await inOwnProcess(fault, candidate, isQuick))
    for (const figure of new Set(found.flatMap(Object.keys))) {
      const row = found.map((figures) => figures[figure] ?? '')
      // An error that nobody caught is news; that there was none is not.
      if (figure === 'uncaughtErrors' && row.every((value) => value === '0')) continue
      console.log(`| ${fault} | ${inWords(figure)} | ${row.join(' | ')} |`)
    }
  }
}

/** `firstSuccessMillis` in words: `first success, ms`. */
function inWords(figure: string): string {
  return figure
    .replace(/Millis$|^millis$/, (ending) => (ending === 'millis' ? 'failed after, ms' : ', ms'))
    .replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)
}

const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    fault: { type: 'string' },
    candidate: { type: 'string' },
  },
})
void (options.fault !== undefined && options.candidate !== undefined
  ? measure(options.fault, options.candidate, options.quick)
  : report(options.quick))
