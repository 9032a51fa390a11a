/** The pool's idle connections: opened ahead, few at a time, kept alive, and all in doubt once one is lost. */
import { setTimeout as delay } from 'node:timers/promises'
import { ConfigurationError, Database, type RetireEvent } from '../../../src/database'
import { eachDatabase } from '../../support/each-database'
import { report } from '../../support/report'
import { startProxy, type TcpProxy } from '../../support/tcp-proxy'
import { waitFor } from '../../support/wait-for'

eachDatabase('the upkeep of a pool', (context) => {
  const reasonsOf = (database: Database): RetireEvent['reason'][] => {
    const reasons: RetireEvent['reason'][] = []
    database.on('retire', ({ reason }) => reasons.push(reason))
    return reasons
  }

  it('opens `min` connections ahead of demand', async () => {
    const database = await context.open({ pool: { min: 3, size: 4 } })
    await waitFor(() => database.stats().idle === 3, { what: 'three idle connections' })
    expect(database.stats()).toMatchObject({ created: 3, used: 0, creating: 0 })
  })

  it('closes what was idle for too long, but for `min` of them', async () => {
    const database = await context.open({ pool: { min: 1, size: 4, idleTimeoutMillis: 50 } })
    const reasons = reasonsOf(database)
    const taken = await Promise.all([1, 2, 3].map(() => database.acquire()))
    for (const connection of taken) await connection.release()
    await waitFor(() => reasons.length === 2, { what: 'the spare ones to be closed' })
    expect(reasons).toEqual(['idle', 'idle'])
    expect(database.stats().idle).toBe(1)
  })

  it('replaces what is past its lifetime though nobody asks for it', async () => {
    const database = await context.open({ pool: { min: 2, size: 2, maxLifetimeMillis: 100 } })
    const reasons = reasonsOf(database)
    await waitFor(() => database.stats().created > 4, { what: 'connections to be replaced' })
    expect(new Set(reasons)).toEqual(new Set(['old']))
  })

  it('says what cannot be', () => {
    const wrong = (pool: object): (() => Database) => {
      return () => new Database(context.url, { pool })
    }
    expect(wrong({ min: 6 })).toThrow(ConfigurationError)
    expect(wrong({ min: 6 })).toThrow('pool.min is at most pool.size, which is 5, got 6')
    expect(wrong({ leakThresholdMillis: 100, leakTimeoutMillis: 50 })).toThrow(
      /leakTimeoutMillis is at least/,
    )
    expect(wrong({ maxWaiters: -1 })).toThrow(/maxWaiters/)
    expect(wrong({ keepaliveMillis: 'often' })).toThrow(/keepaliveMillis/)
  })

  if (context.dialect === 'sqlite') return

  describe('with a server behind a wire', () => {
    let proxy: TcpProxy
    beforeEach(async () => {
      proxy = await startProxy(context.url)
    })
    afterEach(() => proxy.close())

    it('opens two connections more at most when fifty statements come at once on five idle ones', async () => {
      let opening = Promise.resolve()
      const database = await context.open({
        pool: { size: 50, maxOverflow: 0, min: 5 },
        afterConnect: () => opening,
      })
      await waitFor(() => database.stats().idle === 5, { what: 'five idle connections' })
      let open = (): void => undefined
      opening = new Promise((resolve) => (open = resolve))
      const started = performance.now()
      await Promise.all(Array.from({ length: 50 }, () => database.fetchVal('select 1')))
      const tookMillis = performance.now() - started
      open()
      await waitFor(() => database.stats().creating === 0, { what: 'the last one to be opened' })
      const { created } = database.stats()
      report('fifty statements on five idle connections', { connections: created, millis: tookMillis })
      expect(created).toBeLessThanOrEqual(7)
    })

    it('opens twice as many each time when those who wait stay', async () => {
      const pool = { size: 12, maxOverflow: 0 }
      const database = await context.open({ pool, afterConnect: () => delay(20) })
      let most = 0
      database.on('create', () => {
        most = Math.max(most, database.stats().creating)
      })
      // Far longer than it takes to open them all, so that none is served by one that comes back; but no leak.
      await Promise.all(Array.from({ length: 12 }, () => database.fetchVal('select 1 from pg_sleep(1.5)')))
      expect(database.stats()).toMatchObject({ created: 12, waiting: 0 })
      expect(most).toBeGreaterThan(2)
    })

    it('opens others for those that are lost, up to `min`', async () => {
      const database = await context.open({ pool: { min: 3, size: 3 } }, proxy.url)
      const reasons = reasonsOf(database)
      await waitFor(() => database.stats().idle === 3, { what: 'three idle connections' })
      proxy.cut()
      await waitFor(() => database.stats().created === 6 && database.stats().idle === 3, {
        what: 'three others',
      })
      expect(reasons).toEqual(['lost', 'lost', 'lost'])
    })

    it('gives up all that do not answer once one was lost, however fresh they are', async () => {
      const pool = { min: 4, size: 4, validateAfterIdleMillis: 60_000, keepaliveMillis: 0 }
      const database = await context.open({ pool }, proxy.url)
      await waitFor(() => database.stats().idle === 4, { what: 'four idle connections' })
      // The server has died, but of that only one connection has heard.
      const [heard, ...unheard] = proxy.links
      for (const link of unheard) {
        link.hold('toServer')
        link.hold('toClient')
      }
      heard?.cut('both')
      await waitFor(() => database.stats().created === 8, { what: 'a new generation', timeoutMillis: 10_000 })
      expect(await database.fetchVal('select 1')).toBe(1)
      expect(database.stats().retired).toBe(4)
    })

    it('keeps idle connections alive, which does not make them look used', async () => {
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

    it('never has more connections on the server than its cap, however slowly they close', async () => {
      const database = await context.open({ pool: { size: 1, maxOverflow: 3 } }, proxy.url)
      let most = 0
      for (let round = 0; round < 10; round += 1) {
        proxy.delay(20)
        const rush = Array.from({ length: 8 }, () => database.fetchVal('select 1'))
        const watching = setInterval(() => {
          most = Math.max(most, proxy.connections)
        }, 1)
        await Promise.all(rush)
        clearInterval(watching)
      }
      expect(most).toBeLessThanOrEqual(4)
      expect(most).toBeGreaterThan(1)
    })
  })
})
