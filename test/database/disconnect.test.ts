/** disconnect() while something else is under way: a connect, a check of an idle connection, a stream, a transaction. */
import { Database, NotConnectedError } from '../../src/database'
import { failure, numbers, runScript } from './support'
import { eachDatabase } from '../support/each-database'
import { report } from '../support/report'
import { startProxy, type TcpProxy } from '../support/tcp-proxy'
import { waitFor } from '../support/wait-for'

eachDatabase('disconnect()', (context) => {
  it('leaves nothing that keeps the process alive', async () => {
    const { stdout } = await runScript(`
      const { Database } = require('./src/database')
      const database = new Database(${JSON.stringify(context.url)})
      let ended
      process.on('exit', () => process.stdout.write(String(performance.now() - ended < 500)))
      void database.connect().then(() => database.disconnect()).then(() => (ended = performance.now()))`)
    expect(stdout).toBe('true')
  })

  it('emits a release event for each connection that it cuts off', async () => {
    const database = await context.open()
    const told: string[] = []
    for (const event of ['acquire', 'release'] as const) database.on(event, () => told.push(event))
    const stuck = await database.acquire()
    await database.disconnect({ graceMillis: 10 })
    await stuck.release()
    expect(told).toEqual(['acquire', 'release'])
  })

  it('rejects the next read of an open stream with NotConnectedError', async () => {
    const own = await context.open()
    const rows = own.iterate(numbers(context.dialect, 5000), {}, { batchSize: 2 })
    await rows.next()
    await rows.next()
    await own.disconnect({ graceMillis: 0 })
    expect(await failure(rows.next())).toBeInstanceOf(NotConnectedError)
  })

  it('resolves when a transaction called it, after that transaction has committed', async () => {
    const database = await context.open({ pool: { size: 5, maxOverflow: 0, acquireTimeoutMillis: 2000 } })
    await database.execute('create table t (id integer primary key)')
    let ending: Promise<void> | undefined
    await database.transaction(async () => {
      await database.execute('insert into t values (1)')
      ending = database.disconnect()
    })
    await ending
    expect(await context.admin('select id from t')).toEqual([{ id: 1 }])
    await context.admin('drop table t')
  })

  if (context.dialect === 'sqlite') return

  const never = (): Promise<never> => new Promise(() => undefined)

  /** Resolves when the server has no connection of the pool left. */
  const gone = (): Promise<unknown> => {
    const open =
      "select pid from pg_stat_activity where datname = current_database() and application_name = 'millpond'"
    return waitFor(async () => (await context.admin(open)).length === 0, {
      what: 'all connections to be closed',
      timeoutMillis: 2500,
    })
  }

  /** Resolves to the milliseconds until `work` has settled; fails when it does not settle within `timeoutMillis`. */
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

  describe('behind a TCP proxy', () => {
    let proxy: TcpProxy
    beforeEach(async () => {
      proxy = await startProxy(context.url)
    })
    afterEach(() => proxy.close())

    it('closes all connections while an idle one is being validated', async () => {
      const database = await context.open({ pool: { min: 4, size: 4, keepaliveMillis: 30 } }, proxy.url)
      await waitFor(() => database.stats().idle === 4, { what: 'four idle connections' })
      await proxy.trap(Buffer.from('SELECT 1'), {
        act: () => {
          // The answer arrives after disconnect() has begun.
          proxy.delay(60)
          void database.disconnect({ graceMillis: 0 })
        },
      })
      await gone()
      expect(await failure(database.fetchVal('select 1'))).toBeInstanceOf(NotConnectedError)
    })

    it('does not finish opening a connection that was connecting when it was called', async () => {
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

    it('does not wait for a connect() that gets no answer', async () => {
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
