/** A pool whose connections are all in use, as an application sees it. */
import { within } from '../support/exact'
import { full } from '../support/faults/full'
import { millpond } from '../support/faults/millpond-subject'
import { describeFault, report } from './support'

describeFault('a full pool', (server) => {
  it('ends each wait in time, names all holders, and serves callers in order', async () => {
    const figures = await full(millpond, server().url)
    report('full', figures)
    expect(figures).toMatchObject({
      timedOut: 20,
      error: 'PoolTimeoutError',
      served: 20,
      servedOutOfOrder: 0,
    })
    expect(figures.holdersNamed).toBe(figures.holders)
    expect(figures.slowestBeyondMillis).toBeLessThanOrEqual(within(50, 1000))
    expect(figures.servedAfterReleaseMillis).toBeLessThanOrEqual(within(50, 1000))
  })
})
