/** What the tests of faults share: a PostgreSQL of their own, and their figures on one line each. */
import type { Figures } from '../support/faults/subject'
import { type MortalPostgres, startMortalPostgres } from '../support/mortal-postgres'
import { standingCheck } from '../support/standing-check'

/** Longer than any scenario is meant to take, with the start of a server. */
const LONGEST_MILLIS = 60_000

/** Registers tests with a server that nobody else uses; skipped where no test uses PostgreSQL. */
export function describeFault(name: string, tests: (server: () => MortalPostgres) => void): void {
  const usesPostgres = (process.env['TEST_DATABASE_URLS'] ?? '').includes('postgres')
  ;(usesPostgres ? describe : describe.skip)(name, () => {
    let server: MortalPostgres | undefined
    jest.setTimeout(LONGEST_MILLIS)
    beforeAll(async () => {
      server = await startMortalPostgres()
    }, LONGEST_MILLIS)
    tests(() => {
      if (server === undefined) throw new Error('The server has not been started')
      return server
    })
    standingCheck()
    afterAll(() => server?.stop())
  })
}

/** Prints what was measured, since a figure says more than that it was within its bound. */
export function report(fault: string, figures: Figures): void {
  const shown = Object.entries(figures).map(
    ([name, value]) => `${name} ${typeof value === 'number' ? Math.round(value) : value}`,
  )
  process.stdout.write(`${fault}: ${shown.join(', ')}\n`)
}
