/** Who waits for a connection, and how many there are, while checks fail, waiters leave and the server goes away. */
import {
  ConnectionError,
  type Connection,
  type Database,
  QueryCanceledError,
  QueryTimeoutError,
} from '../../../src/database'
import { eachDatabase } from '../../support/each-database'
import { startProxy, type TcpProxy } from '../../support/tcp-proxy'
import { waitFor } from '../../support/wait-for'
import { failure, gate } from '../support'

eachDatabase('the queue of a pool', (context) => {
  const single = { size: 1, maxOverflow: 0 }

  it('counts those who waited in vain by a time limit of their own', async () => {
    const database = await context.open({ pool: single })
    const told: Error[] = []
    database.on('timeout', ({ error }) => told.push(error))
    await using _held = await database.acquire()
    const error = await failure(database.fetchVal('select 1', {}, { timeoutMillis: 30 }))
    expect(error).toBeInstanceOf(QueryTimeoutError)
    expect(told).toEqual([error])
    expect(database.stats().timedOut).toBe(1)
  })

  it('keeps no connection above `size` that was opened for those who have left', async () => {
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

  it('opens twice as many only when all of a round are there', async () => {
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

  describe('with a server behind a wire', () => {
    let proxy: TcpProxy
    beforeEach(async () => {
      proxy = await startProxy(context.url)
    })
    afterEach(() => proxy.close())

    /** Resolves when so many wait, and every idle connection is being asked for a sign of life. */
    const asked = (database: Database, waiting: number): Promise<unknown> => {
      const what = `${waiting} connections to be asked`
      return waitFor(() => database.stats().waiting === waiting && database.stats().idle === 0, { what })
    }

    it('keeps its order when the connections of the first ones give no answer', async () => {
      const pool = { min: 4, size: 4, maxOverflow: 0, validateAfterIdleMillis: 0 }
      const database = await context.open({ pool }, proxy.url)
      await waitFor(() => database.stats().idle === 4, { what: 'four idle connections' })
      for (const link of proxy.links) link.hold('toClient')
      const served: number[] = []
      const ask = (number: number): Promise<void> =>
        database.connection(async (connection) => {
          served.push(number)
          await connection.fetchVal('select 1')
        })
      const asking = [1, 2, 3, 4].map(ask)
      await asked(database, 4)
      proxy.cut()
      asking.push(ask(5))
      await Promise.all(asking)
      // Two connections are opened at the same time, and the one that was opened later may be there earlier.
      expect(served.map((number, index) => Math.abs(number - 1 - index) <= 2)).toEqual(Array(5).fill(true))
    })

    it('opens nothing for one who left while a connection was asked for him', async () => {
      const database = await context.open({ pool: { ...single, validateAfterIdleMillis: 0 } }, proxy.url)
      let tries = 0
      database.on('connectRetry', () => {
        tries += 1
      })
      for (const link of proxy.links) link.hold('toClient')
      const left = failure(database.fetchVal('select 1', {}, { timeoutMillis: 150 }))
      await asked(database, 1)
      expect(await left).toBeInstanceOf(QueryTimeoutError)
      proxy.refuse()
      proxy.cut()
      await waitFor(() => database.stats().retired === 1, { what: 'the silent one to be closed' })
      // Long enough for several attempts.
      const until = performance.now() + 1500
      await waitFor(() => performance.now() > until)
      expect(tries).toBeLessThanOrEqual(1)
      expect(database.stats().creating).toBe(0)
    })

    it('asks those that were out when another was lost, if they have said nothing since', async () => {
      const database = await context.open({ pool: { size: 2, maxOverflow: 0 } }, proxy.url)
      const lost = await database.acquire()
      const [first] = proxy.links
      const silent = await database.acquire()
      const second = proxy.links.find((link) => link !== first)
      for (const connection of [lost, silent]) await connection.fetchVal('select 1')
      second?.hold('toServer')
      second?.hold('toClient')
      first?.cut('both')
      await failure(lost.fetchVal('select 1'))
      await lost.release()
      await silent.release()
      const write = database.execute('create table t (id integer)')
      await asked(database, 1)
      second?.cut('both')
      expect(await write).toBeDefined()
      await context.admin('drop table t')
    })

    it('tells those who find it full that the server is away, instead of naming nobody', async () => {
      const pool = { ...single, maxWaiters: 1, acquireTimeoutMillis: 1000 }
      const database = await context.open({ pool }, proxy.url)
      let tries = 0
      database.on('connectRetry', () => {
        tries += 1
      })
      proxy.refuse()
      proxy.cut()
      await waitFor(() => database.stats().retired === 1, { what: 'the connection to be lost' })
      const waiters = [1, 2].map(() => failure(database.fetchVal('select 1')))
      await waitFor(() => tries > 0, { what: 'an attempt to connect' })
      expect(database.stats().waiting).toBe(2)
      for (const one of [failure(database.fetchVal('select 1')), ...waiters])
        expect(await one).toBeInstanceOf(ConnectionError)
    })

    it('tries again when the server ends a connection while afterConnect runs', async () => {
      let prepared = 0
      const database = await context.open({
        pool: { size: 2, maxOverflow: 0, acquireTimeoutMillis: 10_000 },
        afterConnect: async (connection: Connection) => {
          prepared += 1
          if (prepared !== 2) return
          const pid = await connection.fetchVal<number>('select pg_backend_pid()')
          const statement = connection.fetchVal('select pg_sleep(600)')
          const active = `select 1 from pg_stat_activity where pid = ${pid} and query like '%sleep%' and state = 'active'`
          await Promise.all([
            statement,
            waitFor(async () => (await context.admin(active)).length > 0, { what: 'it to run' }).then(() =>
              context.admin(`select pg_terminate_backend(${pid})`),
            ),
          ])
        },
      })
      await using _held = await database.acquire()
      expect(await database.fetchVal('select 1')).toBe(1)
      expect(prepared).toBe(3)
    })

    it('does not open `min` connections while those that they replace are still being closed', async () => {
      const pool = { size: 2, maxOverflow: 0, min: 2, maxLifetimeMillis: 300 }
      const database = await context.open({ pool }, proxy.url)
      await waitFor(() => database.stats().idle === 2, { what: 'two idle connections' })
      for (const link of proxy.links) {
        link.hold('toServer')
        link.hold('toClient')
      }
      await waitFor(() => database.stats().retired === 2, { what: 'them to be old' })
      // Behind whatever else has knocked by now.
      await context.admin('select 1', proxy.url)
      expect(proxy.accepted).toBe(3)
      proxy.cut()
      await waitFor(() => database.stats().idle === 2, { what: 'two others' })
    })
  })
})
