/** Shared by the fault tests: a PostgreSQL of their own, and their figures on one line each. */
import type { Figures } from '../support/faults/subject'
import { type MortalPostgres, startMortalPostgres } from '../support/mortal-postgres'
import { standingCheck } from '../support/standing-check'

/** Longer than any scenario, with the start of a server. */
const LONGEST_MILLIS = 60_000

/** Registers tests with a server of their own; skipped where no test uses PostgreSQL. */
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

/** Prints the measured figures, which say more than that they were within their bounds. */
export function report(fault: string, figures: Figures): void {
  const shown = Object.entries(figures).map(
    ([name, value]) => `${name} ${typeof value === 'number' ? Math.round(value) : value}`,
  )
  process.stdout.write(`${fault}: ${shown.join(', ')}\n`)
}
