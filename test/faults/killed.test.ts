/** What an application feels of a PostgreSQL that is killed and comes back. */
import { within } from '../support/exact'
import { killed } from '../support/faults/killed'
import { millpond } from '../support/faults/millpond-subject'
import { describeFault, report } from './support'

describeFault('PostgreSQL killed under load, back after two seconds', (server) => {
  it('costs no read, no write but those under way, and half a second at most', async () => {
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
