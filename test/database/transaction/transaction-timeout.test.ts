/** The time limit and the signal of a transaction: what they include, and what they end. */
import { type Database, SerializationError } from '../../../src/database'
import { all, arrived, endless, failure, idsOf } from '../support'
import { eachDatabase } from '../../support/each-database'

eachDatabase('the time limit of a transaction', (context) => {
  it('includes the wait for its connection', async () => {
    const database = await context.open({ pool: { size: 1, maxOverflow: 0 } })
    const connection = await database.acquire()
    const late = failure(database.transaction(async () => undefined, { timeoutMillis: 30 }))
    expect(await late).toMatchObject({ code: 'QUERY_TIMEOUT' })
    await connection.release()
  })

  it('covers all of its retries', async () => {
    const database = await context.open()
    let tries = 0
    const doomed = database.transaction(
      async (tx) => {
        tries += 1
        await tx.fetchVal('select 1')
        throw new SerializationError('again', 'select 1')
      },
      { retries: 1_000_000, timeoutMillis: 100 },
    )
    expect(await failure(doomed)).toMatchObject({ code: 'QUERY_TIMEOUT' })
    expect(tries).toBeGreaterThan(1)
  })

  it("counts in stats().timedOut when the acquire timeout is over, also for the turn of SQLite's writer", async () => {
    const database = await context.open({ pool: { size: 1, maxOverflow: 0, acquireTimeoutMillis: 30 } })
    await database.transaction(async () => {
      const late = database.detached(() => failure(database.transaction(async () => undefined)))
      expect(await late).toMatchObject({ code: 'POOL_TIMEOUT', waiting: 0 })
    })
    expect(database.stats()).toMatchObject({ timedOut: 1, waiting: 0 })
  })
})

eachDatabase('the time limit and the signal of a transaction', (context) => {
  const slow = endless(context.dialect)

  let database: Database

  beforeEach(async () => {
    database = await context.open({ pool: { size: 1, maxOverflow: 0, acquireTimeoutMillis: 1000 } })
    await database.execute('create table t (id integer primary key)')
  })
  afterEach(async () => {
    await context.admin('drop table t')
  })

  it('cancel its running statement', async () => {
    const started = performance.now()
    const late = database.transaction((tx) => tx.fetchVal(slow), { timeoutMillis: 60 })
    expect((await failure(late)).name).toBe('QueryTimeoutError')
    const controller = new AbortController()
    const aborted = failure(
      database.transaction((tx) => tx.transaction(() => all(database.iterate(slow))), {
        signal: controller.signal,
      }),
    )
    await arrived(context, database)
    controller.abort()
    expect((await aborted).name).toBe('QueryCanceledError')
    expect(performance.now() - started).toBeLessThan(10_000)
  })

  it('do not make its queries with a time limit of their own run outside of it', async () => {
    const failing = database.transaction(async () => {
      await database.execute('insert into t values (1)', {}, { timeoutMillis: 60_000 })
      expect(await database.fetchVal('select id from t', {}, { timeoutMillis: 60_000 })).toBe(1)
      throw new Error('out')
    })
    await expect(failing).rejects.toThrow('out')
    expect(await idsOf(database)).toEqual([])
  })
})
