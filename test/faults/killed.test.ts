/** A PostgreSQL that is killed and comes back, as an application sees it. */
import { within } from '../support/exact'
import { killed } from '../support/faults/killed'
import { millpond } from '../support/faults/millpond-subject'
import { describeFault, report } from './support'

describeFault('PostgreSQL killed under load, back after two seconds', (server) => {
  it('fails no read, only the writes that were running, and delays calls by half a second at most', async () => {
    const figures = await killed(millpond, server())
    report('killed', figures)
    expect(figures).toMatchObject({
      readsFailed: 0,
      clientsThatHang: 0,
      lost: 0,
      appliedTwice: 0,
      moneyMadeOrLost: 0,
    })
    expect(figures.writesFailed).toBeLessThanOrEqual(figures.writesInFlight)
    expect(figures.firstSuccessMillis).toBeLessThanOrEqual(within(500, 5000))
    expect(figures.readsDone).toBeGreaterThan(10)
  })
})
