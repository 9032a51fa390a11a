/** A thousand aborted calls leave nothing in use. */
import { within } from '../support/exact'
import { aborted } from '../support/faults/aborted'
import { describeFault, report } from './support'

describeFault('a thousand calls aborted at random moments', (server) => {
  it('leave no connection in use, no caller waiting and no busy backend a second later', async () => {
    const figures = await aborted(server().url)
    report('aborted', figures)
    expect(figures).toMatchObject({ used: 0, waiting: 0, busyBackends: 0, unsettled: 0, otherErrors: 0 })
    expect(figures.allBackMillis).toBeLessThanOrEqual(within(1000, 15_000))
    expect(figures.canceled).toBeGreaterThan(500)
  })
})
