/** Ends that meet: of a transaction, its connection, its streams, and of what was forgotten in between. */
import {
  type Connection,
  ConnectionError,
  Database,
  NotConnectedError,
  QueryCanceledError,
  QueryTimeoutError,
  type Transaction,
  TransactionClosedError,
  TransactionError,
  type TransactionOptions,
} from '../../../src/database'
import { eachDatabase } from '../../support/each-database'
import { startProxy } from '../../support/tcp-proxy'
import { failure, idsOf, numbers } from '../support'

eachDatabase('ends that meet', (context) => {
  let database: Database

  beforeEach(async () => {
    database = await context.open({ pool: { acquireTimeoutMillis: 500 } })
    await database.execute('create table t (id integer)')
  })
  afterEach(async () => {
    await context.admin('drop table t')
  })

  it('roll back once when a connection is released while BEGIN runs, and spoil nothing', async () => {
    const single = await context.open({ pool: { size: 1, maxOverflow: 0 } })
    const connection = await single.acquire()
    // One that is sent at once on PostgreSQL as well.
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

  it('let a rollback win over the commit that comes in the same moment', async () => {
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

  it('let a rollback that nobody awaited win over the end of its block', async () => {
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

  it('refuse a COMMIT as text after a rollback and a commit have met', async () => {
    await using connection = await database.acquire()
    const tx = await connection.begin()
    await Promise.allSettled([tx.rollback(), tx.commit()])
    await expect(connection.transaction((inner) => inner.execute('commit'))).rejects.toThrow(TransactionError)
  })

  const forgotten: Record<
    string,
    (begin: (on: Connection | Transaction, options?: TransactionOptions) => void) => Promise<unknown>
  > = {
    'transaction(work)': (begin) =>
      database.transaction(async (tx) => {
        begin(tx)
      }),
    'connection(work)': (begin) =>
      database.connection(async (connection) => {
        // One that is sent at once on PostgreSQL as well.
        begin(connection, { isolation: 'serializable' })
      }),
  }
  for (const [name, run] of Object.entries(forgotten)) {
    it(`do not wait for a begin() that nobody awaited in ${name}`, async () => {
      const begun: Promise<Error>[] = []
      await run((on, options) => begun.push(failure(on.begin(options))))
      for (const error of await Promise.all(begun)) expect(error).toBeInstanceOf(TransactionClosedError)
      expect(await database.fetchVal('select 1')).toBe(1)
    })
  }

  it('do not wait for ever for a transaction that was asked for in the same breath as a statement', async () => {
    const error = await failure(
      database.transaction((tx) => Promise.all([tx.begin(), tx.fetchAll('select 1')])),
    )
    expect(error).toBeInstanceOf(TransactionError)
    expect(error.message).toMatch(/waited 500 ms for the transaction/)
  })

  it('of a stream come whatever has called it off, and `break` is no failure', async () => {
    const forced = await context.open({ forceRollback: true }, await context.createDatabase())
    const left = context.dialect === 'sqlite' ? 'sqlite_temp_schema' : "pg_cursors where name <> ''"
    for (const on of [database, forced]) {
      const controller = new AbortController()
      const rows = on.iterate(numbers(context.dialect, 100), {}, { batchSize: 2, signal: controller.signal })
      for await (const row of rows) {
        expect(row).toEqual({ n: 1 })
        controller.abort()
        break
      }
      expect(await on.fetchAll(`select name from ${left}`)).toEqual([])
    }
  })

  it('of an acquired connection end what was begun on it, in a forced rollback as well', async () => {
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

  it('of executeMany come in time when its source gives nothing', async () => {
    let isClosed = false
    async function* stuck(): AsyncGenerator<{ id: number }> {
      try {
        yield { id: 1 }
        await new Promise(() => undefined)
      } finally {
        isClosed = true
      }
    }
    const started = performance.now()
    const error = await failure(
      database.executeMany('insert into t values (:id)', stuck(), { timeoutMillis: 100 }),
    )
    expect(error).toBeInstanceOf(QueryTimeoutError)
    expect(performance.now() - started).toBeLessThan(5000)
    const controller = new AbortController()
    const stopped = failure(
      database.executeMany('insert into t values (:id)', stuck(), { signal: controller.signal }),
    )
    controller.abort()
    expect(await stopped).toBeInstanceOf(QueryCanceledError)
    expect(isClosed).toBe(false)
    expect(await idsOf(database)).toEqual([])
  })

  it('of a Database tell a stream that was cut off why', async () => {
    const own = await context.open()
    const rows = own.iterate(numbers(context.dialect, 5000), {}, { batchSize: 2 })
    await rows.next()
    await rows.next()
    await own.disconnect({ graceMillis: 0 })
    expect(await failure(rows.next())).toBeInstanceOf(NotConnectedError)
  })

  it('of a schema change come in time', async () => {
    if (context.dialect === 'sqlite') return // It has no statement that lasts and changes nothing.
    const change = database.knex.schema.raw('select pg_sleep(30)').raw('select 1')
    const error = await failure(database.execute(change, undefined, { timeoutMillis: 100 }))
    expect(error).toBeInstanceOf(QueryTimeoutError)
  })

  if (context.dialect === 'postgresql') {
    it('of a connection come even when the network is gone', async () => {
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

    it('of several statements in one raw are those of its transaction, whichever comes first', async () => {
      await database.transaction(async () => {
        await database.knex.raw('insert into t values (1); insert into t values (2)')
      })
      expect(await idsOf(database)).toEqual([1, 2])
    })

    it('of one ping spoil no other', async () => {
      for (let round = 0; round < 3; round += 1) {
        const [patient, impatient] = await Promise.allSettled([
          database.ping(),
          database.ping({ timeoutMillis: 0 }),
        ])
        expect(patient.status).toBe('fulfilled')
        expect(impatient.status).toBe('rejected')
      }
      await expect(database.ping({ timeout: 5 } as never)).rejects.toThrow(/no option 'timeout'|timeout/)
    })

    it('show no value in an error, and hide no word of it', async () => {
      const cast = database.fetchAll('select * from unnest(cast(:n as regclass[]))', { n: ['hidden_value'] })
      expect((await failure(cast)).message).not.toContain('hidden_value')
      const missing = database.fetchAll('select * from nowhere where x = :a', { a: 'relation' })
      expect((await failure(missing)).message).toContain('relation "nowhere" does not exist')
    })

    it('of connect() come after its own time, with the real reason', async () => {
      const proxy = await startProxy(context.url)
      const { url } = proxy
      await proxy.close()
      const away = new Database(url, { connectTimeoutMillis: 600, pool: { acquireTimeoutMillis: 50 } })
      const error = await failure(away.connect())
      expect(error).toBeInstanceOf(ConnectionError)
      expect(error.message).toMatch(/Nothing listens there/)
    })
  }
})
