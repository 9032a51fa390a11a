/** Several processes write one SQLite file through millpond at the same time, without errors. */
import { sqliteScratches } from '../support/each-database'
import { standingCheck } from '../support/standing-check'
import { figuresOf } from '../support/faults/counting-figures'
import { countTogether } from '../support/faults/count-together'
import { ScriptProcess } from '../support/faults/script-process'

const PROCESSES = 4
const LOAD = { writers: 8, readers: 2, millis: 5000 }
const FILES = 20
const SLOWEST_MILLIS = 5000
/** The timeout of the test: a busy machine starts the processes slowly. */
const LONGEST_MILLIS = 90_000

describe.each(sqliteScratches())('several processes on one SQLite file: $title', (scratch) => {
  standingCheck()
  afterAll(() => scratch.dropAll())

  it(
    'lose no update, get no error and starve no writer, when all of them read and then write',
    async () => {
      const url = await scratch.create()
      const reports = await countTogether({ counter: 'millpond', url, processes: PROCESSES, load: LOAD })
      const figures = figuresOf(reports)
      const { transactions, slowestMillis, medianMillis, perProcess, looks } = figures
      process.stdout.write(
        `${PROCESSES} processes x ${LOAD.writers} writers: ${transactions} transactions, ` +
          `slowest ${Math.round(slowestMillis)} ms, median ${Math.round(medianMillis)} ms, ` +
          `per process ${perProcess.join(', ')}; ${looks} reads beside them\n`,
      )

      expect(reports.flatMap(({ failures }) => failures)).toEqual([])
      expect(reports.flatMap(({ failedLooks }) => failedLooks)).toEqual([])
      expect(reports.map(({ torn }) => torn)).toEqual(reports.map(() => 0))
      // All of them wrote, or nothing was tested.
      for (const count of [...perProcess, ...reports.map((report) => report.looks)])
        expect(count).toBeGreaterThan(0)

      const acknowledged = reports.flatMap(({ ids }) => ids).toSorted()
      expect(await scratch.query(url, 'select counted from counter')).toEqual([{ counted: transactions }])
      const rows = await scratch.query(url, 'select id from entries')
      expect(rows.map(({ id }) => id as string).toSorted()).toEqual(acknowledged)

      expect(slowestMillis).toBeLessThan(SLOWEST_MILLIS)
    },
    LONGEST_MILLIS,
  )

  it(
    'open a file that does not exist yet, create its tables and write, all at once',
    async () => {
      const scripts = Array.from({ length: PROCESSES }, () => new ScriptProcess('opening-script.ts', null))
      try {
        await Promise.all(scripts.map((script) => script.line(0)))
        for (let file = 1; file <= FILES; file += 1) {
          const url = await scratch.create()
          for (const script of scripts) script.tell(url)
          const answers = await Promise.all(scripts.map((script) => script.line(file)))
          expect(answers).toEqual(scripts.map(() => 'opened'))
          expect(await scratch.query(url, 'select count(*) as openers from openers')).toEqual([
            { openers: PROCESSES },
          ])
        }
      } finally {
        await Promise.all(scripts.map((script) => script[Symbol.asyncDispose]()))
      }
    },
    LONGEST_MILLIS,
  )
})
