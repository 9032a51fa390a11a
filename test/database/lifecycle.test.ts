/** Connecting and disconnecting: once, in order, and without anything left. */
import { type Connection, ConnectionError, Database, NotConnectedError } from '../../src/database'
import { eachDatabase } from '../support/each-database'
import { waitFor } from '../support/wait-for'
import { arrived, endless, failure, runScript } from './support'

eachDatabase('connect and disconnect', (context) => {
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

  it('refuses every query before connect(), by name', async () => {
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

  it('connects once, however often and by however many it is asked', async () => {
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

  it('disconnects once, and does nothing when it is not connected', async () => {
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

  it('connects again after it was disconnected', async () => {
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

  it('lets running work finish, its next statements included, and refuses new work meanwhile', async () => {
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

  it('refuses those who wait for a connection', async () => {
    const database = make({ pool: { size: 1, maxOverflow: 0 } })
    await database.connect()
    const connection = await database.acquire()
    const waiting = failure(database.fetchVal('select 1'))
    const ending = database.disconnect()
    expect(await waiting).toBeInstanceOf(NotConnectedError)
    await connection.release()
    await ending
  })

  it('cuts off what has not ended within the grace, and says so', async () => {
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
    // The server notices a connection that was cut a little later.
    await waitFor(async () => (await backends()) === 0, { timeoutMillis: 1000 })
    await expect(context.admin('select * from cut')).rejects.toThrow(/cut/)
    await failure(tx.execute('select 1'))
    await tx.rollback()
  })

  it('tells those whose statements it cuts off that it was it, and not a signal', async () => {
    const database = make({ pool: { size: 4, maxOverflow: 0 } })
    await database.connect()
    await database.execute('create table cut_off (id integer)')
    const sql = endless(context.dialect)
    const alone = failure(database.fetchVal(sql))
    const inTransaction = failure(
      database.transaction(
        async (tx) => {
          await tx.fetchVal(sql)
        },
        { readOnly: true },
      ),
    )
    const streamed = failure(
      (async () => {
        for await (const row of database.iterate(sql)) expect(row).toBeDefined()
      })(),
    )
    const idle = await database.begin({ readOnly: true })
    await waitFor(() => database.holders().filter((holder) => holder.sql === sql).length === 3)
    await database.disconnect({ graceMillis: 0 })
    const late = failure(idle.fetchVal('select 1'))
    const errors = await Promise.all([alone, inTransaction, streamed, late])
    const told = expect.stringMatching(/was disconnected: what had not ended within the grace was cancelled/)
    expect(errors.map(({ message }) => message)).toEqual([told, told, told, told])
    expect(errors.filter((error) => !(error instanceof NotConnectedError))).toEqual([])
    await context.admin('drop table cut_off')
  })

  it('gives each connection to afterConnect once, before anybody else has it', async () => {
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

  it('fails when afterConnect does, and leaves no connection', async () => {
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

  it('does not keep a process alive that has nothing else to do', async () => {
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
