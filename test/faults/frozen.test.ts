/** A PostgreSQL that stops answering for five seconds, as an application sees it. */
import { within } from '../support/exact'
import { frozen } from '../support/faults/frozen'
import { millpond } from '../support/faults/millpond-subject'
import { describeFault, report } from './support'

describeFault('every process of PostgreSQL stopped for five seconds', (server) => {
  it('ends each call by its deadline, and affects no call a second later', async () => {
    const figures = await frozen(millpond, server())
    report('frozen', figures)
    expect(figures).toMatchObject({ clientsThatHang: 0, lost: 0, appliedTwice: 0, moneyMadeOrLost: 0 })
    expect(figures.callsFailed).toBeGreaterThan(0)
    expect(figures.slowestBeyondDeadlineMillis).toBeLessThanOrEqual(within(250, 3000))
    expect(figures.normalAfterMillis).toBeLessThanOrEqual(within(1000, 5000))
  })
})
