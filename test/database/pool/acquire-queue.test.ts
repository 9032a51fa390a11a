/** The acquire queue: order, cancellation at any moment, maxWaiters, and which error a waiting caller gets. */
import { setTimeout as delay } from 'node:timers/promises'
import fc from 'fast-check'
import {
  ConnectionError,
  type Database,
  type DatabaseOptions,
  PoolTimeoutError,
  QueryCanceledError,
  QueryTimeoutError,
  type TimeoutEvent,
} from '../../../src/database'
import { failure, gate } from '../support'
import { eachDatabase } from '../../support/each-database'
import { startProxy, type TcpProxy } from '../../support/tcp-proxy'
import { waitFor } from '../../support/wait-for'

const SEED = Number(process.env['SEED'] ?? Date.now() % 1_000_000)

eachDatabase('the acquire queue', (context) => {
  it('refuses a caller at once when maxWaiters callers wait already, and names the holders', async () => {
    const database = await context.open({ pool: { size: 1, maxOverflow: 0, maxWaiters: 2 } })
    const timeouts: TimeoutEvent[] = []
    database.on('timeout', (event) => timeouts.push(event))
    const held = await database.acquire()
    const waiting = [1, 2].map(() => database.fetchVal('select 1'))
    const error = await failure(database.fetchVal('select 1'))
    expect(error).toBeInstanceOf(PoolTimeoutError)
    expect(error).toMatchObject({ waiting: 2, retryable: true, holders: [{ inTransaction: false }] })
    expect(error.message).toMatch(/^2 wait for database .* already, and pool\.maxWaiters is 2/)
    expect(timeouts).toEqual([{ error, label: null }])
    await held.release()
    expect(await Promise.all(waiting)).toEqual([1, 1])
    expect(await database.fetchVal('select 1')).toBe(1)
    expect(database.stats()).toMatchObject({ timedOut: 1, waiting: 0 })
  })

  it('refuses no caller while a connection can be opened, though maxWaiters is 0', async () => {
    const database = await context.open({ pool: { size: 3, maxOverflow: 0, maxWaiters: 0 } })
    const opened = await Promise.all([database.acquire(), database.acquire(), database.acquire()])
    await expect(database.acquire()).rejects.toThrow(PoolTimeoutError)
    for (const connection of opened) await connection.release()
  })

  it('refuses a caller that comes at the moment when the last connection is handed out', async () => {
    const database = await context.open({ pool: { size: 1, maxOverflow: 0, maxWaiters: 0 } })
    for (let ticks = 0; ticks < 40; ticks += 1) {
      const first = database.acquire()
      for (let tick = 0; tick < ticks; tick += 1) await Promise.resolve()
      const second = failure(database.acquire())
      // A caller that was let in would wait until the first one releases it.
      const third = first.then((connection) => delay(5).then(() => connection.release()))
      expect(await second).toBeInstanceOf(PoolTimeoutError)
      await third
    }
  })

  if (context.dialect === 'sqlite') {
    it("includes callers that wait for the turn of SQLite's writer", async () => {
      const database = await context.open({ pool: { maxWaiters: 1 } })
      const tx = await database.begin()
      const next = database.transaction((inner) => inner.fetchVal('select 1'))
      await expect(database.execute('create table never (id integer)')).rejects.toThrow(PoolTimeoutError)
      expect(await database.fetchVal('select 1')).toBe(1)
      await tx.rollback()
      expect(await next).toBe(1)
    })
  }

  it('serves a waiting caller with a released connection, though another is still being opened', async () => {
    const opening = gate()
    let isFirst = true
    const database = await context.open({
      pool: { size: 2, maxOverflow: 0 },
      afterConnect: async () => {
        if (!isFirst) await opening.opened
        isFirst = false
      },
    })
    const held = await database.acquire()
    const waiting = database.fetchVal('select 1')
    await waitFor(() => database.stats().creating === 1, { what: 'a second connection to be opened' })
    await held.release()
    expect(await waiting).toBe(1)
    opening.open()
    await waitFor(() => database.stats().creating === 0, { what: 'it to be opened' })
  })

  it('rejects with PoolTimeoutError, not ConnectionError, while a server that answers opens connections', async () => {
    let isSlow = false
    const database = await context.open({
      pool: { size: 1, maxOverflow: 2, acquireTimeoutMillis: 1500 },
      afterConnect: () => delay(isSlow ? 100 : 0),
    })
    isSlow = true
    const outcomes = await Promise.allSettled(
      Array.from({ length: 80 }, () =>
        database.connection(async (connection) => {
          await connection.fetchVal('select 1')
          // Reading raw has the connection closed at its release, so that the next caller waits for a new one.
          void connection.raw
          await delay(30)
        }),
      ),
    )
    const errors = outcomes.flatMap((one) => (one.status === 'rejected' ? [one.reason as Error] : []))
    expect(errors.length).toBeGreaterThan(10)
    expect(errors.filter((error) => !(error instanceof PoolTimeoutError))).toEqual([])
    for (const { message } of errors) expect(message).toMatch(/[0-3] of 3 are in use and \d+ others wait/)
  })

  it(`loses no connection when callers leave it at any moment (seed ${SEED})`, async () => {
    const size = 3
    const database = await context.open({ pool: { size, maxOverflow: 1, acquireTimeoutMillis: 10_000 } })
    const owners = new Map<unknown, number>()
    let most = 0
    let shared = 0
    /** Holds a connection for some turns of the event loop, and is aborted after some others. */
    const borrow = async (
      database_: Database,
      id: number,
      holdTurns: number,
      abortTurns: number,
    ): Promise<void> => {
      const controller = new AbortController()
      const aborting = turns(abortTurns).then(() => {
        controller.abort()
      })
      const work = database_.transaction(
        async (tx) => {
          // Reading `raw` would have the connection closed at its release.
          const { session } = (tx as unknown as { lease: { session: object } }).lease
          if (owners.has(session)) shared += 1
          owners.set(session, id)
          const disown = (): void => {
            if (owners.get(session) === id) owners.delete(session)
          }
          // An aborted holder has its connection taken back, whatever it waits for.
          controller.signal.addEventListener('abort', disown)
          if (controller.signal.aborted) disown()
          try {
            await tx.fetchVal('select 1')
            most = Math.max(most, database_.stats().used)
            await turns(holdTurns)
          } finally {
            disown()
          }
        },
        { signal: controller.signal, readOnly: id % 2 === 0 },
      )
      await Promise.allSettled([work, aborting])
    }
    const borrower = fc.tuple(fc.nat({ max: 4 }), fc.nat({ max: 30 }))
    await fc.assert(
      fc.asyncProperty(fc.array(borrower, { minLength: 20, maxLength: 40 }), async (borrowers) => {
        await Promise.all(borrowers.map(([hold, abort], id) => borrow(database, id, hold, abort)))
        expect(database.stats()).toMatchObject({ used: 0, waiting: 0 })
        // All of them can be acquired again, each once.
        const all = await Promise.all(Array.from({ length: size }, () => database.acquire()))
        expect(new Set(all.map(({ raw }) => raw)).size).toBe(size)
        for (const connection of all) await connection.release()
      }),
      { seed: SEED, numRuns: 100, endOnFailure: true },
    )
    expect(shared).toBe(0)
    expect(most).toBeLessThanOrEqual(size + 1)
  })
})

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await new Promise((resolve) => setImmediate(resolve))
}

eachDatabase('a caller in the acquire queue', (context) => {
  const single = { size: 1, maxOverflow: 0 }

  const open = (options: DatabaseOptions = {}): Promise<Database> =>
    context.open({ pool: { size: 1, maxOverflow: 0 }, ...options })

  it('is counted in stats().timedOut when its own time limit is over', async () => {
    const database = await context.open({ pool: single })
    const told: Error[] = []
    database.on('timeout', ({ error }) => told.push(error))
    await using _held = await database.acquire()
    const error = await failure(database.fetchVal('select 1', {}, { timeoutMillis: 30 }))
    expect(error).toBeInstanceOf(QueryTimeoutError)
    expect(told).toEqual([error])
    expect(database.stats().timedOut).toBe(1)
  })

  it('does not take a connection when it has timed out or was aborted', async () => {
    const database = await context.open({ pool: { size: 1, maxOverflow: 0, acquireTimeoutMillis: 20 } })
    const held = await database.acquire()
    expect(await failure(database.fetchVal('select 1'))).toBeInstanceOf(PoolTimeoutError)
    const controller = new AbortController()
    const calledOff = failure(database.fetchVal('select 1', {}, { signal: controller.signal }))
    controller.abort()
    expect(await calledOff).toBeInstanceOf(QueryCanceledError)
    await held.release()
    expect(await database.fetchVal('select 1')).toBe(1)
    expect(database.stats()).toMatchObject({ used: 0, waiting: 0 })
  })

  it("is not counted in the error's number of waiting callers", async () => {
    const database = await open({ pool: { size: 1, maxOverflow: 0, acquireTimeoutMillis: 50 } })
    await using _connection = await database.acquire()
    const error = await failure(database.fetchVal('select 1'))
    expect((error as PoolTimeoutError).waiting).toBe(0)
  })

  if (context.dialect === 'sqlite') return

  describe('behind a TCP proxy', () => {
    let proxy: TcpProxy
    beforeEach(async () => {
      proxy = await startProxy(context.url)
    })
    afterEach(() => proxy.close())

    /** Resolves when so many callers wait, and every idle connection is being validated. */
    const validating = (database: Database, waiting: number): Promise<unknown> => {
      const what = `${waiting} connections to be validated`
      return waitFor(() => database.stats().waiting === waiting && database.stats().idle === 0, { what })
    }

    it('is served in order when the connections of the first callers give no answer', async () => {
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
      await validating(database, 4)
      proxy.cut()
      asking.push(ask(5))
      await Promise.all(asking)
      // Two connections are opened at the same time, and the later one may be ready earlier.
      expect(served.map((number, index) => Math.abs(number - 1 - index) <= 2)).toEqual(Array(5).fill(true))
    })

    it('opens no connection when it left while an idle one was validated', async () => {
      const database = await context.open({ pool: { ...single, validateAfterIdleMillis: 0 } }, proxy.url)
      let tries = 0
      database.on('connectRetry', () => {
        tries += 1
      })
      for (const link of proxy.links) link.hold('toClient')
      const left = failure(database.fetchVal('select 1', {}, { timeoutMillis: 150 }))
      await validating(database, 1)
      expect(await left).toBeInstanceOf(QueryTimeoutError)
      proxy.refuse()
      proxy.cut()
      await waitFor(() => database.stats().retired === 1, { what: 'the silent connection to be closed' })
      // Long enough for several attempts.
      const until = performance.now() + 1500
      await waitFor(() => performance.now() > until)
      expect(tries).toBeLessThanOrEqual(1)
      expect(database.stats().creating).toBe(0)
    })

    it('gets a ConnectionError when the queue is full because the server is away', async () => {
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
  })
})
