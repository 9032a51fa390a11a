/** The pool: timeouts, holders, size and overflow, stats, lifetime and idle timeout. */
import fc from 'fast-check'
import {
  type Database,
  type DatabaseOptions,
  DatabaseURL,
  PoolTimeoutError,
  runInScope,
} from '../../../src/database'
import { all, endless, failure } from '../support'
import { eachDatabase } from '../../support/each-database'
import { waitFor } from '../../support/wait-for'

eachDatabase('the pool', (context) => {
  const open = (pool: DatabaseOptions['pool']): Promise<Database> => context.open({ pool: pool ?? {} })

  it('rejects within acquireTimeoutMillis when it is full, and names the holders', async () => {
    const database = await open({ size: 2, maxOverflow: 0, acquireTimeoutMillis: 500 })
    // Both are open from here on: on a busy machine that may take longer than the timeout.
    const connections = await Promise.all([database.acquire(), database.acquire()])
    await Promise.all(connections.map((connection) => connection.release()))
    const controller = new AbortController()
    const report = runInScope({ label: 'GET /report' }, () =>
      failure(database.fetchVal(endless(context.dialect), {}, { signal: controller.signal })),
    )
    await waitFor(() => database.holders().some(({ sql }) => sql !== null))
    await using _tx = await runInScope({ label: 'POST /transfer' }, () => database.begin({ readOnly: true }))
    const started = performance.now()
    const error = await failure(database.fetchVal('select 1'))
    const waitedMillis = performance.now() - started
    controller.abort()
    await report

    expect(error).toBeInstanceOf(PoolTimeoutError)
    expect(error).toMatchObject({ code: 'POOL_TIMEOUT', retryable: true })
    expect(waitedMillis).toBeGreaterThan(490)
    expect(waitedMillis).toBeLessThan(2000)
    expect(error.message).toMatch(/2 of 2 are in use/)
    expect(error.message).toMatch(/1\. GET \/report, for \d+ ms, running (with|select)/)
    expect(error.message).toMatch(/2\. POST \/transfer, for \d+ ms, running nothing, in an open transaction/)
    const { holders } = error as PoolTimeoutError
    expect(holders.map(({ label, inTransaction }) => [label, inTransaction])).toEqual([
      ['GET /report', false],
      ['POST /transfer', true],
    ])
  })

  it('serves waiting callers in the order of their calls', async () => {
    const database = await open({ size: 1, maxOverflow: 0 })
    const connection = await database.acquire()
    const order: number[] = []
    const waiters = [1, 2, 3, 4, 5].map((n) => database.fetchVal('select 1').then(() => order.push(n)))
    await waitFor(() => database.stats().waiting === 5)
    await connection.release()
    await Promise.all(waiters)
    expect(order).toEqual([1, 2, 3, 4, 5])
  })

  it('closes overflow connections when they are released, and keeps the others', async () => {
    const database = await open({ size: 2, maxOverflow: 3 })
    const connections = await Promise.all(Array.from({ length: 5 }, () => database.acquire()))
    expect(database.stats()).toMatchObject({ used: 5, idle: 0, created: 5 })
    await Promise.all(connections.map((connection) => connection.release()))
    expect(database.stats()).toMatchObject({ used: 0, idle: 2, retired: 3 })
  })

  it('hands a released overflow connection to a waiting caller instead of closing it', async () => {
    const database = await open({ size: 1, maxOverflow: 1 })
    const connections = await Promise.all([database.acquire(), database.acquire()])
    const waiters = Array.from({ length: 6 }, () => database.fetchVal('select 1'))
    await waitFor(() => database.stats().waiting === 6)
    await Promise.all(connections.map((connection) => connection.release()))
    expect(await Promise.all(waiters)).toEqual([1, 1, 1, 1, 1, 1])
    expect(database.stats().created).toBe(2)
  })

  it('counts connections, waits and timeouts in stats()', async () => {
    const database = await open({ size: 1, maxOverflow: 0, acquireTimeoutMillis: 30 })
    const before = database.stats()
    expect(before).toMatchObject({
      size: 1,
      maxOverflow: 0,
      used: 0,
      idle: 1,
      creating: 0,
      waiting: 0,
      created: 1,
    })
    const connection = await database.acquire()
    await failure(database.fetchVal('select 1'))
    const waiting = database.acquire()
    expect(database.stats()).toMatchObject({ used: 1, idle: 0, waiting: 1 })
    await connection.release()
    await (await waiting).release()
    const after = database.stats()
    expect(after).toMatchObject({ used: 0, idle: 1, waiting: 0, created: 1, retired: 0 })
    expect(after.acquired - before.acquired).toBe(2)
    expect(after.waited - before.waited).toBe(2)
    expect(after.timedOut - before.timedOut).toBe(1)
  })

  it('lists the holders of connections, longest first, with the time since when', async () => {
    const database = await open({ size: 3 })
    await using _first = await runInScope({ label: 'first' }, () => database.acquire())
    await waitFor(() => (database.holders()[0]?.heldMillis ?? 0) > 5)
    await using _second = await database.acquire()
    const holders = database.holders()
    expect(holders.map(({ label }) => label)).toEqual(['first', null])
    expect(holders[0]?.heldMillis).toBeGreaterThan(holders[1]?.heldMillis ?? Infinity)
    expect(holders[0]).toMatchObject({ sql: null, inTransaction: false })
  })

  it('ignores a signal that is aborted after its query', async () => {
    const database = await open({ size: 1, maxOverflow: 0 })
    const controller = new AbortController()
    expect(await database.fetchVal('select 1', {}, { signal: controller.signal })).toBe(1)
    controller.abort()
    expect(await database.fetchVal('select 1')).toBe(1)
  })

  it('replaces a connection that is past maxLifetimeMillis', async () => {
    const database = await open({ size: 1, maxOverflow: 0, maxLifetimeMillis: 1 })
    await waitFor(async () => {
      await database.fetchVal('select 1')
      return database.stats().created > 3
    })
    expect(database.stats().used).toBe(0)
  })

  it('closes a connection that was idle for idleTimeoutMillis', async () => {
    const database = await open({ size: 2, maxOverflow: 0, idleTimeoutMillis: 10 })
    await database.fetchVal('select 1')
    await waitFor(() => database.stats().idle === 0)
    expect(await database.fetchVal('select 1')).toBe(1)
  })

  it('loses no connection when callers are aborted at any moment', async () => {
    interface Call {
      /** Turns of the microtask queue, then of the event loop, before it is aborted; null: never. */
      readonly abort: readonly [number, number] | null
      readonly kind: 'query' | 'write' | 'transaction' | 'connection' | 'stream'
    }
    const call: fc.Arbitrary<Call> = fc.record({
      abort: fc.option(fc.tuple(fc.nat(12), fc.nat(2)), { freq: 3 }),
      kind: fc.constantFrom('query', 'write', 'transaction', 'connection', 'stream'),
    })
    const run = async (database: Database, { abort, kind }: Call): Promise<void> => {
      const controller = new AbortController()
      const options = { signal: controller.signal }
      const ways = {
        query: () => database.fetchVal('select 1', {}, options),
        write: () => database.execute('update t set id = id', {}, options),
        transaction: () => database.transaction((tx) => tx.execute('update t set id = id'), options),
        connection: () => runInScope(options, () => database.connection((one) => one.fetchVal('select 1'))),
        stream: () => all(database.iterate('select 1', {}, options)),
      }
      const outcome = Promise.allSettled([ways[kind]()])
      if (abort !== null) {
        for (let turn = 0; turn < abort[0]; turn += 1) await Promise.resolve()
        for (let turn = 0; turn < abort[1]; turn += 1) await new Promise(setImmediate)
        controller.abort()
      }
      await outcome
    }
    const database = await open({ size: 2, maxOverflow: 1, validateAfterIdleMillis: 0 })
    await database.execute('create table t (id integer)')
    await fc.assert(
      fc.asyncProperty(fc.array(call, { minLength: 4, maxLength: 24 }), async (calls) => {
        await Promise.all(calls.map((one) => run(database, one)))
        expect(database.stats()).toMatchObject({ used: 0, waiting: 0 })
        // All three can be acquired at once, so none was lost.
        const connections = await Promise.all([1, 2, 3].map(() => database.acquire()))
        await Promise.all(connections.map((connection) => connection.release()))
      }),
      { numRuns: 60 },
    )
    expect(database.stats()).toMatchObject({ used: 0, waiting: 0 })
  })

  it('opens as many connections as the URL says', async () => {
    const url = new DatabaseURL(context.url)
    for (const options of [{ pool_size: '1', max_overflow: '1' }, { max_size: '2' }]) {
      const database = await context.open({}, url.replace({ options }).href)
      const held = [await database.acquire(), await database.acquire()]
      const third = failure(database.fetchVal('select 1', {}, { timeoutMillis: 20 }))
      await third
      for (const connection of held) await connection.release()
      expect(database.stats()).toMatchObject({ used: 0, created: 2 })
    }
  })
})
