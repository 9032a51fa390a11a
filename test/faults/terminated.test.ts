/** Backends that are terminated one after the other, as an application sees it. */
import { millpond } from '../support/faults/millpond-subject'
import { terminated } from '../support/faults/terminated'
import { describeFault, report } from './support'

describeFault('a backend terminated every 100 ms under load', (server) => {
  it('fails no read, at most one write each, and applies no write twice', async () => {
    const figures = await terminated(millpond, server().url)
    report('terminated', figures)
    expect(figures).toMatchObject({
      readsFailed: 0,
      clientsThatHang: 0,
      lost: 0,
      appliedTwice: 0,
      moneyMadeOrLost: 0,
    })
    expect(figures.writesFailed).toBeLessThanOrEqual(figures.kills)
    expect(figures.kills).toBeGreaterThan(20)
  })
})
