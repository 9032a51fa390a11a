/** A pool that closes, or an afterConnect that does not end, while something else is under way. */
import { Database, NotConnectedError } from '../../../src/database'
import { eachDatabase } from '../../support/each-database'
import { report } from '../../support/report'
import { startProxy, type TcpProxy } from '../../support/tcp-proxy'
import { waitFor } from '../../support/wait-for'
import { failure } from '../support'

eachDatabase('a pool in the middle of something', (context) => {
  const never = (): Promise<never> => new Promise(() => undefined)

  /** Resolves when that has happened, with how long it took, and fails when it goes on for ever. */
  const ended = async (work: Promise<unknown>, timeoutMillis = 3000): Promise<number> => {
    const started = performance.now()
    let isOver = false
    const over = (): void => {
      isOver = true
    }
    work.then(over, over)
    await waitFor(() => isOver, { what: 'it to end', timeoutMillis })
    return performance.now() - started
  }

  it('gives up a connection whose afterConnect does not end, and says so', async () => {
    let hangs = false
    let opened = 0
    const database = await context.open({
      connectTimeoutMillis: 1000,
      pool: { size: 1, maxOverflow: 1, acquireTimeoutMillis: 1000 },
      afterConnect: () => {
        opened += 1
        return hangs ? never() : Promise.resolve()
      },
    })
    hangs = true
    const held = await database.acquire()
    const messages: string[] = []
    await waitFor(
      async () => {
        messages.push((await failure(database.fetchVal('select 1'))).message)
        return messages.at(-1)?.includes('afterConnect did not end in time')
      },
      { what: 'the reason', timeoutMillis: 10_000 },
    )
    hangs = false
    await waitFor(async () => (await database.fetchVal('select 1')) === 1, { what: 'the slot to be free' })
    expect(opened).toBeGreaterThan(2)
    await held.release()
  })

  it('tells of each connection that disconnect() cuts off that it came back', async () => {
    const database = await context.open()
    const told: string[] = []
    for (const event of ['acquire', 'release'] as const) database.on(event, () => told.push(event))
    const stuck = await database.acquire()
    await database.disconnect({ graceMillis: 10 })
    await stuck.release()
    expect(told).toEqual(['acquire', 'release'])
  })

  if (context.dialect === 'sqlite') return

  /** Resolves when the server has no connection of the pool any more. */
  const gone = (): Promise<unknown> => {
    const open =
      "select pid from pg_stat_activity where datname = current_database() and application_name = 'millpond'"
    return waitFor(async () => (await context.admin(open)).length === 0, {
      what: 'the server to be left alone',
      timeoutMillis: 2500,
    })
  }

  it('gives up a connection that is cleaned by an afterConnect that does not end', async () => {
    let prepared = 0
    const database = await context.open({
      pool: { size: 1, maxOverflow: 0 },
      afterConnect: () => {
        prepared += 1
        return prepared === 2 ? never() : Promise.resolve()
      },
    })
    await ended(database.connection((connection) => connection.execute("set work_mem to '5MB'")))
    expect(await database.fetchVal('select 1')).toBe(1)
    expect(database.stats()).toMatchObject({ used: 0, retired: 1 })
  })

  describe('with a server behind a wire', () => {
    let proxy: TcpProxy
    beforeEach(async () => {
      proxy = await startProxy(context.url)
    })
    afterEach(() => proxy.close())

    it('closes all connections though an idle one is being asked for a sign of life', async () => {
      const database = await context.open({ pool: { min: 4, size: 4, keepaliveMillis: 30 } }, proxy.url)
      await waitFor(() => database.stats().idle === 4, { what: 'four idle connections' })
      await proxy.trap(Buffer.from('SELECT 1'), {
        act: () => {
          // The answer comes after the end has begun.
          proxy.delay(60)
          void database.disconnect({ graceMillis: 0 })
        },
      })
      await gone()
      expect(await failure(database.fetchVal('select 1'))).toBeInstanceOf(NotConnectedError)
    })

    it('does not go on with a connection that was dialled when disconnect() came', async () => {
      let prepared = 0
      const database = await context.open(
        {
          pool: { size: 2, maxOverflow: 1 },
          afterConnect: () => {
            prepared += 1
            return prepared === 1 ? Promise.resolve() : never()
          },
        },
        proxy.url,
      )
      const held = await database.acquire()
      proxy.blackhole('toClient')
      const waiting = failure(database.fetchVal('select 1'))
      await waitFor(() => proxy.accepted === 2, { what: 'another to be dialled' })
      await database.disconnect({ graceMillis: 0 })
      await held.release()
      expect((await waiting).message).toMatch(/disconnecting/)
      proxy.restore()
      await gone()
      expect(prepared).toBe(1)
    })

    it('does not wait in disconnect() for a connect() that gets no answer', async () => {
      proxy.blackhole()
      const database = context.track(new Database(proxy.url, { connectTimeoutMillis: 6000 }))
      const connecting = failure(database.connect())
      await waitFor(() => proxy.accepted === 1, { what: 'the server to be dialled' })
      const millis = await ended(database.disconnect({ graceMillis: 0 }))
      report('disconnect() in the middle of connect()', { millis })
      expect(await connecting).toBeInstanceOf(Error)
    })
  })
})
