/** The housekeeper: opens min connections ahead, closes idle and old ones, replaces lost ones, sends keepalives. */
import type { Database, RetireEvent } from '../../../src/database'
import { eachDatabase } from '../../support/each-database'
import { startProxy, type TcpProxy } from '../../support/tcp-proxy'
import { waitFor } from '../../support/wait-for'

eachDatabase('the housekeeper of a pool', (context) => {
  const reasonsOf = (database: Database): RetireEvent['reason'][] => {
    const reasons: RetireEvent['reason'][] = []
    database.on('retire', ({ reason }) => reasons.push(reason))
    return reasons
  }

  it('opens min connections ahead of demand', async () => {
    const database = await context.open({ pool: { min: 3, size: 4 } })
    await waitFor(() => database.stats().idle === 3, { what: 'three idle connections' })
    expect(database.stats()).toMatchObject({ created: 3, used: 0, creating: 0 })
  })

  it('closes connections that were idle for too long, except min of them', async () => {
    const database = await context.open({ pool: { min: 1, size: 4, idleTimeoutMillis: 50 } })
    const reasons = reasonsOf(database)
    const taken = await Promise.all([1, 2, 3].map(() => database.acquire()))
    for (const connection of taken) await connection.release()
    await waitFor(() => reasons.length === 2, { what: 'the spare ones to be closed' })
    expect(reasons).toEqual(['idle', 'idle'])
    expect(database.stats().idle).toBe(1)
  })

  it('replaces connections that are past maxLifetimeMillis without a caller', async () => {
    const database = await context.open({ pool: { min: 2, size: 2, maxLifetimeMillis: 100 } })
    const reasons = reasonsOf(database)
    await waitFor(() => database.stats().created > 4, { what: 'connections to be replaced' })
    expect(new Set(reasons)).toEqual(new Set(['old']))
  })

  if (context.dialect === 'sqlite') return

  describe('behind a TCP proxy', () => {
    let proxy: TcpProxy
    beforeEach(async () => {
      proxy = await startProxy(context.url)
    })
    afterEach(() => proxy.close())

    it('replaces lost connections up to min', async () => {
      const database = await context.open({ pool: { min: 3, size: 3 } }, proxy.url)
      const reasons = reasonsOf(database)
      await waitFor(() => database.stats().idle === 3, { what: 'three idle connections' })
      proxy.cut()
      await waitFor(() => database.stats().created === 6 && database.stats().idle === 3, {
        what: 'three others',
      })
      expect(reasons).toEqual(['lost', 'lost', 'lost'])
    })

    it('keeps idle connections alive, which does not count as use', async () => {
      const database = await context.open(
        { pool: { size: 2, keepaliveMillis: 30, idleTimeoutMillis: 2500, validateAfterIdleMillis: false } },
        proxy.url,
      )
      const reasons = reasonsOf(database)
      await proxy.trap(Buffer.from('SELECT 1'), { act: () => undefined })
      expect(database.stats()).toMatchObject({ used: 0, acquired: 1 })
      await waitFor(() => database.stats().idle === 0, { what: 'it to be closed', timeoutMillis: 10_000 })
      expect(reasons).toEqual(['idle'])
    })
  })
})
