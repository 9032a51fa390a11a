/** connect() and disconnect(): idempotent, in order, and without anything left open. */
import { setTimeout as delay } from 'node:timers/promises'
import { type Connection, ConnectionError, Database, NotConnectedError } from '../../src/database'
import { eachDatabase } from '../support/each-database'
import { waitFor } from '../support/wait-for'
import { all, arrived, endless, failure, gate, numbers, runScript } from './support'

eachDatabase('a Database', (context) => {
  const make = (options = {}): Database => context.track(new Database(context.url, options))
  const backends = async (): Promise<number> =>
    Number(
      (
        await context.admin(
          context.dialect === 'sqlite'
            ? 'select 0 as n'
            : 'select count(*) as n from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()',
        )
      )[0]?.['n'],
    )

  it('refuses every query before connect() with an error that names the Database', async () => {
    const database = make({ name: 'orders' })
    const ways = [
      () => database.fetchAll('select 1'),
      () => database.fetchOne('select 1'),
      () => database.fetchVal('select 1'),
      () => database.execute('select 1'),
      () => database.executeMany('select 1', []),
      () => database.transaction(async () => 1),
      () => database.begin(),
      () => database.connection(async () => 1),
      () => database.acquire(),
      () => database.ping(),
      () => database.exclusively('work', async () => 1),
      () => database.listen('posts', () => undefined),
      async () => database.iterate('select 1').next(),
      async () => database.knex.raw('select 1'),
    ]
    for (const way of ways) {
      const error = await failure(way())
      expect(error).toBeInstanceOf(NotConnectedError)
      expect(error.message).toContain("'orders'")
    }
    expect(database.isConnected).toBe(false)
  })

  it('does no I/O until connect()', () => {
    const database = make()
    expect(database.stats()).toMatchObject({ used: 0, idle: 0, creating: 0, size: 5, maxOverflow: 10 })
    expect(database.holders()).toEqual([])
  })

  it('connects once when connect() is called many times at once', async () => {
    const database = make()
    let told = 0
    database.on('connect', () => (told += 1))
    await Promise.all(Array.from({ length: 20 }, () => database.connect()))
    await database.connect()
    expect(told).toBe(1)
    expect(database.isConnected).toBe(true)
    expect(database.stats()).toMatchObject({ created: 1, used: 0, idle: 1 })
    expect(await backends()).toBe(context.dialect === 'postgresql' ? 1 : 0)
  })

  it('disconnects once when disconnect() is called many times, and does nothing when it is not connected', async () => {
    const database = make()
    let told = 0
    database.on('disconnect', () => (told += 1))
    await database.disconnect()
    await database.connect()
    await Promise.all([database.disconnect(), database.disconnect()])
    await database.disconnect()
    expect(told).toBe(1)
    expect(database.isConnected).toBe(false)
    expect(await backends()).toBe(0)
    expect(await failure(database.fetchVal('select 1'))).toBeInstanceOf(NotConnectedError)
  })

  it('can be connected again after disconnect()', async () => {
    const database = make()
    for (let round = 0; round < 3; round += 1) {
      await database.connect()
      expect(await database.fetchVal('select 1')).toBe(1)
      await database.disconnect()
    }
    await database.connect()
    const ending = database.disconnect()
    await database.connect()
    await ending
    expect(await database.fetchVal('select 1')).toBe(1)
  })

  it('is disconnected at the end of its block by await using', async () => {
    let kept: Database
    {
      await using database = new Database(context.url)
      await database.connect()
      kept = database
    }
    expect(kept.isConnected).toBe(false)
  })

  it('lets a running transaction finish during disconnect(), and refuses new work meanwhile', async () => {
    const database = make()
    await database.connect()
    await database.execute('create table drained (id integer)')
    let ending: Promise<void> | undefined
    await database.transaction(async () => {
      await database.execute('insert into drained values (1)')
      ending = database.disconnect({ graceMillis: 60_000 })
      expect(database.isConnected).toBe(false)
      expect(await failure(database.detached(() => database.fetchVal('select 1')))).toBeInstanceOf(
        NotConnectedError,
      )
      await database.execute('insert into drained values (2)')
    })
    await ending
    expect(await context.admin('select id from drained')).toHaveLength(2)
  })

  it('rejects callers that wait for a connection when it disconnects', async () => {
    const database = make({ pool: { size: 1, maxOverflow: 0 } })
    await database.connect()
    const connection = await database.acquire()
    const waiting = [
      () => database.fetchVal('select 1'),
      () => database.transaction(async () => 1),
      () => database.begin(),
      () => database.acquire(),
      () => all(database.iterate('select 1')),
      () => database.executeMany('insert into cut_off values (:id)', [{ id: 1 }]),
      async () => database.knex.raw('select 1'),
    ].map((way) => failure(way()))
    const ending = database.disconnect()
    for (const error of await Promise.all(waiting)) {
      expect(error).toBeInstanceOf(NotConnectedError)
      expect(error.message).toMatch(/is disconnecting and takes no new work/)
    }
    await connection.release()
    await ending
  })

  it('cancels work that has not ended within graceMillis, and emits a cleanup event', async () => {
    const database = make()
    await database.connect()
    const cleaned: string[] = []
    database.on('cleanup', ({ what }) => cleaned.push(what))
    const tx = await database.begin()
    await tx.execute('create table cut (id integer)')
    const stuck = failure(tx.fetchVal(endless(context.dialect)))
    await arrived(context, database)
    await database.disconnect({ graceMillis: 20 })
    await stuck
    expect(cleaned).toHaveLength(1)
    // The server notices later that a connection was cut.
    await waitFor(async () => (await backends()) === 0, { timeoutMillis: 1000 })
    await expect(context.admin('select * from cut')).rejects.toThrow(/cut/)
    await failure(tx.execute('select 1'))
    await tx.rollback()
  })

  /** Reads a stream slowly. */
  const readSlowly = async (rows: AsyncIterable<unknown>): Promise<void> => {
    for await (const row of rows) await delay(10, row)
  }
  const endlessly = async function* (): AsyncGenerator<{ id: number }> {
    for (let id = 0; ; id += 1) yield await delay(1, { id })
  }
  const cutOff: Record<string, (database: Database, sql: string) => Promise<unknown>> = {
    'a statement': (database, sql) => database.fetchVal(sql),
    'a statement with a signal and a deadline': (database, sql) =>
      database.execute(sql, {}, { signal: new AbortController().signal, timeoutMillis: 60_000 }),
    'a builder of Knex': async (database, sql) => database.knex.raw(sql),
    'a stream': (database, sql) => readSlowly(database.iterate(sql)),
    'a stream that is being read': (database) => readSlowly(database.iterate(numbers(context.dialect, 1e7))),
    'a stream of Knex': (database) =>
      readSlowly(database.knex.raw(numbers(context.dialect, 1e7)).stream() as AsyncIterable<unknown>),
    'executeMany()': (database) => database.executeMany('insert into cut_off values (:id)', endlessly()),
    'a transaction': (database, sql) => database.transaction((tx) => tx.fetchVal(sql)),
    'a transaction of Knex': (database, sql) => database.knex.transaction((trx) => trx.raw(sql)),
    'a statement that waits for its turn': (database, sql) =>
      database.connection(async (connection) => {
        void failure(connection.fetchVal(sql))
        await connection.fetchVal('select 1')
      }),
    'a savepoint': (database, sql) =>
      database.transaction(() => database.transaction((inner) => inner.fetchVal(sql))),
    'a connection': (database, sql) => database.connection((connection) => connection.fetchVal(sql)),
    'a transaction that is retried': (database, sql) =>
      database.transaction((tx) => tx.fetchVal(sql), { retries: 3 }),
    'a transaction begun by hand': async (database, sql) => (await database.begin()).fetchVal(sql),
    'a connection taken by hand': async (database, sql) => (await database.acquire()).execute(sql),
    'work that excludes others': (database, sql) =>
      database.exclusively('work', () => database.fetchVal(sql)),
    'what is rolled back by force': (database, sql) => database.forceRollback(() => database.fetchVal(sql)),
    'a transaction in what is rolled back by force': (database, sql) =>
      database.forceRollback(() => database.transaction((tx) => tx.fetchVal(sql))),
  }

  it.each(Object.entries(cutOff))(
    'rejects %s with NotConnectedError when disconnect() cancels it',
    async (_name, work) => {
      const database = make({ pool: { size: 1, maxOverflow: 0 } })
      await database.connect()
      await context.admin('create table if not exists cut_off (id integer)')
      const stuck = failure(work(database, endless(context.dialect)))
      await waitFor(() => database.stats().used === 1 && database.stats().acquired > 1)
      await database.disconnect({ graceMillis: 0 })
      const error = await stuck
      expect(error.message).toMatch(/was disconnected: what had not ended within the grace was cancelled/)
      expect(error).toBeInstanceOf(NotConnectedError)
      await context.admin('drop table cut_off')
    },
  )

  it('rejects idle handles and a running ping with NotConnectedError', async () => {
    const database = make()
    await database.connect()
    const tx = await database.begin()
    const connection = await database.acquire()
    const pinging = Promise.allSettled([database.ping(), database.ping()])
    await database.disconnect({ graceMillis: 0 })
    const ways = [
      () => tx.fetchVal('select 1'),
      () => tx.commit(),
      () => tx.transaction(async () => 1),
      () => connection.begin(),
      () => all(connection.iterate('select 1')),
      async () => connection.raw,
    ]
    for (const way of ways) expect(await failure(way())).toBeInstanceOf(NotConnectedError)
    // A ping that was answered before the disconnect may resolve.
    const failures = (await pinging).flatMap((ping) =>
      ping.status === 'rejected' ? [ping.reason as unknown] : [],
    )
    expect(failures.filter((error) => !(error instanceof NotConnectedError))).toEqual([])
  })

  it('rejects a caller that waits in exclusively()', async () => {
    const [holder, waiting] = [make(), make()]
    await Promise.all([holder.connect(), waiting.connect()])
    await holder.exclusively('work', async () => {
      const refused = failure(waiting.exclusively('work', async () => 1))
      await waiting.disconnect()
      expect(await refused).toBeInstanceOf(NotConnectedError)
    })
  })

  it('lets a transaction in a forced rollback end within graceMillis', async () => {
    const database = make({ forceRollback: true })
    await database.connect()
    const steps: string[] = []
    const opened = gate()
    const work = database.transaction(async (tx) => {
      await opened.opened
      steps.push(`read ${String(await tx.fetchVal('select 1'))}`)
    })
    const ending = database.disconnect({ graceMillis: 60_000 }).then(() => steps.push('disconnected'))
    opened.open()
    await work
    await ending
    expect(steps).toEqual(['read 1', 'disconnected'])
  })

  it('gives each connection to afterConnect once, before any caller has it', async () => {
    const seen = new Set<unknown>()
    let calls = 0
    const database = make({
      pool: { size: 3, maxOverflow: 0 },
      afterConnect: async (connection: Connection) => {
        calls += 1
        seen.add(connection.raw)
        await connection.execute('create temporary table prepared (id integer)')
      },
    })
    await database.connect()
    const counts = await Promise.all(
      Array.from({ length: 9 }, () => database.fetchVal('select count(*) from prepared').then(Number)),
    )
    expect(counts).toEqual(Array.from({ length: 9 }, () => 0))
    await waitFor(() => database.stats().creating === 0)
    expect(calls).toBe(seen.size)
    expect(calls).toBe(database.stats().created)
  })

  it('fails to connect when afterConnect rejects, and leaves no connection open', async () => {
    const database = make({
      afterConnect: async () => {
        throw new Error('no such role')
      },
    })
    const error = await failure(database.connect())
    expect(error).toBeInstanceOf(ConnectionError)
    expect(error.message).toContain('no such role')
    expect(database.isConnected).toBe(false)
    await waitFor(async () => (await backends()) === 0)
  })

  it('does not keep the process alive when it is idle', async () => {
    const script = `
      const { Database } = require('./src/database')
      const database = new Database(${JSON.stringify(context.url)})
      void database.connect()
        .then(() => Promise.all([database.fetchVal('select 1'), database.fetchVal('select 1'), database.ping()]))
        .then(() => process.stdout.write('idle'))`
    const { stdout } = await runScript(script)
    expect(stdout).toBe('idle')
  })
})
