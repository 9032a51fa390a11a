/** More bugs that were found from outside: those of queries, URLs, the pool and SQLite in memory. */
import {
  BindError,
  ConfigurationError,
  ConnectionError,
  Database,
  type DatabaseOptions,
  DatabaseURL,
  type PoolTimeoutError,
  sql,
} from '../../src/database'
import { eachDatabase } from '../support/each-database'
import { all, failure, gate, numbers, runScript, valueOrMessage } from './support'

eachDatabase('found bugs beside transactions', (context) => {
  const open = (options: DatabaseOptions = {}): Promise<Database> =>
    context.open({ pool: { size: 1, maxOverflow: 0 }, ...options })

  it('6: the first column is the first, whatever the columns are called', async () => {
    const database = await open()
    expect(await database.fetchVal('select \'a\' as b, 1 as "1"')).toBe('a')
    expect(await database.fetchVal(`select 'x' as b, 'y' as "2024"`, {}, { column: 1 })).toBe('y')
    const twins = await valueOrMessage(database.fetchVal('select 1 as a, 2 as a', {}, { column: 1 }))
    const told = expect.stringMatching(/Name them apart with AS/) as unknown
    expect(twins).toEqual(context.driver === 'sqlite3' ? told : 2)
    expect(await database.fetchVal('select \'a\' as b, 1 as "1" where 1 = 0')).toBeNull()
    expect(await database.fetchVal(sql`select ${'a'} as b, 1 as "1"`)).toBe('a')
  })

  it('14: a second statement after CREATE is refused', async () => {
    const database = await open()
    await database.execute('create table kept (id integer)')
    const two = 'create table made (id integer); drop table kept'
    expect(await failure(database.execute(two))).toBeInstanceOf(BindError)
    await expect(database.fetchAll('select * from kept')).resolves.toEqual([])
  })

  it('15: a BigInt is a number to the database', async () => {
    const database = await open()
    expect(await database.fetchVal('select case when 5 = :n then 1 else 0 end', { n: 5n })).toBe(1)
    expect(
      await database.fetchVal('select cast(cast(:n as bigint) - 1 as text)', { n: 9_007_199_254_740_993n }),
    ).toBe('9007199254740992')
  })

  it('19: connect() ends in time, though preparing a connection never does', async () => {
    const opened = gate()
    const database = context.track(
      new Database(context.url, { connectTimeoutMillis: 200, afterConnect: () => opened.opened }),
    )
    const started = performance.now()
    const error = await failure(database.connect())
    expect(performance.now() - started).toBeLessThan(1500)
    expect(error).toBeInstanceOf(ConnectionError)
    opened.open()
  })

  it('20: times that are no whole milliseconds, or endless, are times too', async () => {
    for (const millis of [1000.5, Infinity]) {
      const pool = { acquireTimeoutMillis: millis, idleTimeoutMillis: millis, maxLifetimeMillis: millis }
      const database = await open({ pool })
      expect(await database.fetchVal('select 1')).toBe(1)
    }
  })

  it('22: a plan can be streamed', async () => {
    const database = await open()
    expect((await all(database.iterate('explain select 1'))).length).toBeGreaterThan(0)
  })

  it('23: a stream whose query is wrong is reported as nothing else', async () => {
    const database = await open()
    let cleanups = 0
    database.on('cleanup', () => (cleanups += 1))
    await failure(all(database.iterate('select from where')))
    expect(cleanups).toBe(0)
  })

  it('25: what cannot be a time limit, a signal or a piece of work is refused', async () => {
    const database = await open()
    for (const options of [{ timeoutMillis: NaN }, { timeoutMillis: '100' }, { signal: {} }]) {
      const refused = failure(database.fetchVal('select 1', {}, options as object)) // as from JavaScript
      expect(await refused).toBeInstanceOf(ConfigurationError)
    }
    for (const options of [{ afterConnect: 'x' }, { name: 5 }]) {
      expect(() => new Database(context.url, options as object)).toThrow(ConfigurationError)
    }
    expect(database.stats().used).toBe(0)
  })

  it('29: the number of others who wait leaves out the one who gave up', async () => {
    const database = await open({ pool: { size: 1, maxOverflow: 0, acquireTimeoutMillis: 50 } })
    await using _connection = await database.acquire()
    const error = await failure(database.fetchVal('select 1'))
    expect((error as PoolTimeoutError).waiting).toBe(0)
  })

  it('31: a list may be longer than there are placeholders', async () => {
    const database = await open()
    const ids = Array.from({ length: 40_000 }, (_, id) => id)
    const count = await database.fetchVal('select count(*) from (select 7 as id) as s where id in (:ids)', {
      ids,
    })
    expect(Number(count)).toBe(1)
  })

  it('35: a password with a slash in it is not printed', () => {
    for (const url of ['postgresql://app:hunter2/x@h/d', 'postgresql://app:hunter2?x@h/d']) {
      expect(() => new DatabaseURL(url)).toThrow(
        expect.not.objectContaining({ message: expect.stringContaining('hunter2') as unknown }) as Error,
      )
    }
  })

  it('36: what every object has is no column', async () => {
    const database = await open()
    const refused = failure(database.fetchVal('select 1 as a', {}, { column: 'toString' }))
    expect(await refused).toBeInstanceOf(ConfigurationError)
  })

  it('37: nothing keeps a process alive after disconnect()', async () => {
    const { stdout } = await runScript(`
      const { Database } = require('./src/database')
      const database = new Database(${JSON.stringify(context.url)})
      let ended
      process.on('exit', () => process.stdout.write(String(performance.now() - ended < 500)))
      void database.connect().then(() => database.disconnect()).then(() => (ended = performance.now()))`)
    expect(stdout).toBe('true')
  })

  it('21: a stream in a transaction does not see the rows that its own loop adds', async () => {
    const database = await open()
    await database.execute('create table streamed (id integer)')
    const first = await database.fetchAll<{ n: number }>(numbers(context.dialect, 10))
    await database.executeMany('insert into streamed values (:n)', first)
    let seen = 0
    await database.transaction(async () => {
      const rows = database.iterate<{ id: number }>('select id from streamed', {}, { batchSize: 3 })
      for await (const { id } of rows) {
        seen += 1
        if (seen > 100) throw new Error('it never ends')
        await database.execute('insert into streamed values (:id)', { id })
      }
    })
    expect(seen).toBe(10)
  })
})
