/** What an application is told of a database that it cannot reach. */
import { millpond } from '../support/faults/millpond-subject'
import { DEADLINE_MILLIS, type Reason, unreachable } from '../support/faults/unreachable'
import { describeFault, report } from './support'

/** Those that may pass are tried again until the deadline. */
const PASSING: readonly Reason[] = ['swallows packets', 'refuses', 'starting up']
const PERMANENT: readonly Reason[] = ['wrong password', 'missing database']

describeFault('a database out of reach', (server) => {
  it.each(PASSING)('that %s is tried until the deadline, and the error says why', async (reason) => {
    const figures = await unreachable(millpond, server().url, reason)
    report(reason, { ...figures })
    expect(figures).toMatchObject({ error: 'ConnectionError', code: 'CONNECTION_FAILED', namesCause: 1 })
    expect(figures.millis).toBeGreaterThan(DEADLINE_MILLIS - 20)
    expect(figures.millis).toBeLessThanOrEqual(DEADLINE_MILLIS + 250)
  })

  it.each(PERMANENT)('for a reason that lasts (%s) fails at once, and says why', async (reason) => {
    const figures = await unreachable(millpond, server().url, reason)
    report(reason, { ...figures })
    expect(figures).toMatchObject({ error: 'ConnectionError', code: 'CONNECTION_FAILED', namesCause: 1 })
    expect(figures.millis).toBeLessThanOrEqual(DEADLINE_MILLIS / 2)
  })
})
