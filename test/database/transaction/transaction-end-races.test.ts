/** A transaction that is ended twice at the same time: commit and rollback, release during BEGIN, begin() without await. */
import {
  type Connection,
  type Database,
  type Transaction,
  TransactionClosedError,
  TransactionError,
  type TransactionOptions,
} from '../../../src/database'
import { failure, idsOf } from '../support'
import { eachDatabase } from '../../support/each-database'
import { startProxy } from '../../support/tcp-proxy'

eachDatabase('races at the end of a transaction', (context) => {
  let database: Database

  beforeEach(async () => {
    database = await context.open({ pool: { acquireTimeoutMillis: 500 } })
    await database.execute('create table t (id integer)')
  })
  afterEach(async () => {
    await context.admin('drop table t')
  })

  it('roll back once when the connection is released while BEGIN runs', async () => {
    const single = await context.open({ pool: { size: 1, maxOverflow: 0 } })
    const connection = await single.acquire()
    // With an isolation level, BEGIN is sent at once on PostgreSQL as well.
    const beginning = failure(connection.begin({ isolation: 'serializable' }))
    const other = single.transaction(async (tx) => {
      await tx.execute('insert into t values (2)')
    })
    await connection.release()
    expect(await beginning).toBeInstanceOf(TransactionClosedError)
    await other
    expect(single.stats().retired).toBe(0)
    expect(await idsOf(database)).toEqual([2])
  })

  it('let rollback() win over commit() when both are called at once', async () => {
    const told: string[] = []
    const tx = await database.begin()
    tx.afterCommit(() => told.push('committed'))
    tx.afterRollback(() => told.push('rolled back'))
    await tx.execute('insert into t values (1)')
    const [rolledBack, committed] = await Promise.allSettled([tx.rollback(), tx.commit()])
    expect(rolledBack.status).toBe('fulfilled')
    expect(committed).toMatchObject({ status: 'rejected', reason: expect.any(TransactionClosedError) })
    expect(tx.state).toBe('rolled back')
    expect(told).toEqual(['rolled back'])
    expect(await idsOf(database)).toEqual([])
  })

  it('let a rollback() that was not awaited win over the end of its block', async () => {
    let seen: Transaction | undefined
    await database.transaction(async (tx) => {
      seen = tx
      await tx.execute('insert into t values (1)')
      void tx.rollback()
    })
    expect(seen?.state).toBe('rolled back')
    await database.transaction(async (tx) => {
      await tx.execute('insert into t values (2)')
      await database.transaction((inner) => {
        void inner.rollback()
        return Promise.resolve()
      })
    })
    expect(await idsOf(database)).toEqual([2])
  })

  const withoutAwait: Record<
    string,
    (begin: (on: Connection | Transaction, options?: TransactionOptions) => void) => Promise<unknown>
  > = {
    'transaction(work)': (begin) =>
      database.transaction(async (tx) => {
        begin(tx)
      }),
    'connection(work)': (begin) =>
      database.connection(async (connection) => {
        // With an isolation level, BEGIN is sent at once on PostgreSQL as well.
        begin(connection, { isolation: 'serializable' })
      }),
  }
  for (const [name, run] of Object.entries(withoutAwait)) {
    it(`refuse a begin() that was not awaited in ${name}`, async () => {
      const begun: Promise<Error>[] = []
      await run((on, options) => begun.push(failure(on.begin(options))))
      for (const error of await Promise.all(begun)) expect(error).toBeInstanceOf(TransactionClosedError)
      expect(await database.fetchVal('select 1')).toBe(1)
    })
  }

  it('end a deadlock of begin() and a statement at once within the acquire timeout', async () => {
    const error = await failure(
      database.transaction((tx) => Promise.all([tx.begin(), tx.fetchAll('select 1')])),
    )
    expect(error).toBeInstanceOf(TransactionError)
    expect(error.message).toMatch(/waited 500 ms for the transaction/)
  })

  it('roll back the transaction of an acquired connection when it is released, in a forced rollback too', async () => {
    const options = { forceRollback: true, pool: { acquireTimeoutMillis: 500 } }
    const forced = await context.open(options, await context.createDatabase())
    for (const on of [database, forced]) {
      const connection = await on.acquire()
      const tx = await connection.begin()
      await connection.release()
      expect(tx.state).toBe('rolled back')
      expect(await on.fetchVal('select 1')).toBe(1)
    }
  })

  if (context.dialect === 'postgresql') {
    it('end release() within a time limit when the network is gone', async () => {
      const proxy = await startProxy(context.url)
      try {
        const away = await context.open({ pool: { size: 1, maxOverflow: 0 } }, proxy.url)
        const connection = await away.acquire()
        const tx = await connection.begin()
        await tx.fetchVal('select 1')
        proxy.blackhole()
        await connection.release()
        proxy.restore()
        expect(await away.fetchVal('select 1')).toBe(1)
        expect(away.stats()).toMatchObject({ used: 0, retired: 1 })
      } finally {
        await proxy.close()
      }
    })
  }
})
