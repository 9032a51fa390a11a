/** How many connections the pool opens, and when: for waiting callers, in doubling rounds, up to its maximum. */
import { setTimeout as delay } from 'node:timers/promises'
import { QueryCanceledError } from '../../../src/database'
import { failure, gate, numbers } from '../support'
import { eachDatabase } from '../../support/each-database'
import { report } from '../../support/report'
import { startProxy, type TcpProxy } from '../../support/tcp-proxy'
import { waitFor } from '../../support/wait-for'

eachDatabase('a pool', (context) => {
  it('closes connections above size that were opened for callers that have left', async () => {
    const ready = gate()
    let isSlow = false
    const database = await context.open({
      pool: { size: 1, maxOverflow: 5 },
      afterConnect: () => (isSlow ? ready.opened : Promise.resolve()),
    })
    isSlow = true
    const held = await database.acquire()
    const leaving = new AbortController()
    const waiters = [1, 2, 3].map(() =>
      failure(database.fetchVal('select 1', {}, { signal: leaving.signal })),
    )
    await waitFor(() => database.stats().creating === 2, { what: 'two connections to be opened' })
    leaving.abort()
    for (const waiter of waiters) expect(await waiter).toBeInstanceOf(QueryCanceledError)
    ready.open()
    await waitFor(() => database.stats().created === 3, { what: 'them to be open' })
    await held.release()
    await waitFor(() => database.stats().idle === 1, {
      what: 'the others to be closed',
      timeoutMillis: 4000,
    })
  })

  it('opens twice as many connections only when all of a round are open', async () => {
    const opening: (() => void)[] = []
    let isSlow = false
    const database = await context.open({
      pool: { size: 16, maxOverflow: 0 },
      afterConnect: async () => {
        if (isSlow) await new Promise<void>((resolve) => opening.push(resolve))
      },
    })
    isSlow = true
    const taken = Promise.all(Array.from({ length: 16 }, () => database.acquire()))
    const atOnce: number[] = []
    for (const [opened, begun] of [
      [1, 2],
      [2, 3],
      [3, 6],
    ] as const) {
      const what = `${opened} to be open`
      await waitFor(() => database.stats().created === opened && opening.length >= begun, { what })
      atOnce.push(database.stats().creating)
      opening[opened - 1]?.()
    }
    isSlow = false
    for (const open of opening) open()
    for (const connection of await taken) await connection.release()
    expect(atOnce).toEqual([2, 2, 4])
  })

  if (context.dialect === 'sqlite') return

  it('never has more connections than its maximum while callers are aborted', async () => {
    const database = await context.open({ pool: { size: 2, maxOverflow: 2, maxLifetimeMillis: 15 } })
    const watch = { most: 0, done: false }
    const watching = (async () => {
      while (!watch.done) {
        const [row] = await context.admin(
          'select count(*) as n from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()',
        )
        watch.most = Math.max(watch.most, Number(row?.['n']))
      }
    })()
    for (let round = 0; round < 15; round += 1) {
      const controller = new AbortController()
      const queries = Array.from({ length: 30 }, (_, n) =>
        database.fetchVal(
          `select count(*) from (${numbers('postgresql', 2000)}) as s`,
          {},
          n % 3 === 0 ? { signal: controller.signal } : {},
        ),
      )
      const outcome = Promise.allSettled(queries)
      for (let turn = 0; turn < round; turn += 1) await new Promise(setImmediate)
      controller.abort()
      await outcome
    }
    watch.done = true
    await watching
    expect(watch.most).toBeGreaterThan(1)
    expect(watch.most).toBeLessThanOrEqual(4)
  })

  it('opens at most two more connections when fifty statements come at once on five idle ones', async () => {
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

  it('opens twice as many connections each round while callers wait', async () => {
    const pool = { size: 12, maxOverflow: 0 }
    const database = await context.open({ pool, afterConnect: () => delay(20) })
    let most = 0
    database.on('create', () => {
      most = Math.max(most, database.stats().creating)
    })
    // Far longer than it takes to open them all, so that no caller gets a released one; but not long enough for a leak.
    await Promise.all(Array.from({ length: 12 }, () => database.fetchVal('select 1 from pg_sleep(1.5)')))
    expect(database.stats()).toMatchObject({ created: 12, waiting: 0 })
    expect(most).toBeGreaterThan(2)
  })

  describe('behind a TCP proxy', () => {
    let proxy: TcpProxy
    beforeEach(async () => {
      proxy = await startProxy(context.url)
    })
    afterEach(() => proxy.close())

    it('does not open min connections while the ones that they replace are being closed', async () => {
      const pool = { size: 2, maxOverflow: 0, min: 2, maxLifetimeMillis: 300 }
      const database = await context.open({ pool }, proxy.url)
      await waitFor(() => database.stats().idle === 2, { what: 'two idle connections' })
      for (const link of proxy.links) {
        link.hold('toServer')
        link.hold('toClient')
      }
      await waitFor(() => database.stats().retired === 2, { what: 'both to exceed their lifetime' })
      // Accepted after every connection that was attempted before.
      await context.admin('select 1', proxy.url)
      expect(proxy.accepted).toBe(3)
      proxy.cut()
      await waitFor(() => database.stats().idle === 2, { what: 'two others' })
    })

    it('never has more connections than its maximum, however slowly they close', async () => {
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
