/**
 * Counts how many transactions survive when four processes write one SQLite file, through millpond and through plain
 * Knex. Reports, and never fails.
 *
 *     npx tsx bench/sqlite-processes.ts                  five seconds each
 *     npx tsx bench/sqlite-processes.ts --seconds=60     longer
 */
import { parseArgs } from 'node:util'
import { COUNTERS, type CounterName } from '../test/support/faults/counters'
import { figuresOf } from '../test/support/faults/counting-figures'
import { countTogether } from '../test/support/faults/count-together'
import { ScratchSqlite } from '../test/support/scratch-sqlite'

const PROCESSES = 4
const WRITERS = 8
const READERS = 2

async function row(counter: CounterName, url: string, millis: number): Promise<string> {
  const load = { writers: WRITERS, readers: READERS, millis }
  const figures = figuresOf(await countTogether({ counter, url, processes: PROCESSES, load }))
  const { transactions, failed, slowestMillis, medianMillis, perProcess } = figures
  const share = `${failed} (${Math.round((100 * failed) / (transactions + failed))} %)`
  const cells = [counter, transactions, share, Math.round(medianMillis), Math.round(slowestMillis)]
  return `| ${[...cells, perProcess.join(', ')].join(' | ')} |`
}

async function report(seconds: number): Promise<void> {
  const scratch = new ScratchSqlite()
  console.log(
    `node ${process.version}, ${PROCESSES} processes x ${WRITERS} writers and ${READERS} readers on one file, ` +
      `${seconds} s; each transaction reads a row and writes it\n`,
  )
  console.log('| | committed | failed | median, ms | slowest, ms | committed per process |')
  console.log('| --- | --- | --- | --- | --- | --- |')
  for (const counter of Object.keys(COUNTERS) as CounterName[]) {
    console.log(await row(counter, await scratch.create(), seconds * 1000))
  }
  await scratch.dropAll()
}

const { values } = parseArgs({ options: { seconds: { type: 'string', default: '5' } } })
void report(Number(values.seconds))
