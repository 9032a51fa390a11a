/** disconnect() with a statement that does not end. */
import { within } from '../support/exact'
import { disconnected } from '../support/faults/disconnected'
import { millpond } from '../support/faults/millpond-subject'
import { describeFault, report } from './support'

describeFault('disconnect() with a stuck statement', (server) => {
  it('resolves after graceMillis, names the holder, and leaves no backend', async () => {
    const figures = await disconnected(millpond, server().url)
    report('disconnected', figures)
    expect(figures).toMatchObject({ holdersNamed: 1, backendsLeft: 0 })
    expect(figures.beyondGraceMillis).toBeLessThanOrEqual(within(500, 3000))
  })
})
