/** Figures and limits that a driver, or a queue on the way, could get wrong. */
import { SerializationError, TransactionError } from '../../../src/database'
import { eachDatabase } from '../../support/each-database'
import { failure, runScript, valueOrMessage } from '../support'

eachDatabase('execute', (context) => {
  it('tells the id that this INSERT gave, or none', async () => {
    const database = await context.open()
    await database.execute(
      'create table numbered (id integer primary key, name varchar(20) unique, hits integer)',
    )
    const insert = "insert into numbered (id, name, hits) values (7, 'seven', 1)"
    const isSqlite = context.dialect === 'sqlite'
    expect(await database.execute(insert)).toEqual({ rowCount: 1, lastInsertId: isSqlite ? 7 : null })
    const upsert = `${insert.replace('7', '9')} on conflict (name) do update set hits = 2`
    // SQLite does not say of an upsert whether it has inserted or updated.
    expect(await database.execute(upsert)).toEqual({ rowCount: 1, lastInsertId: null })
    const commented = upsert.replace('do update', 'do -- nothing but\n /* an */ update')
    expect(await database.execute(commented)).toEqual({ rowCount: 1, lastInsertId: null })
    const named = insert.replace('7', '8').replace("'seven'", "'do update'")
    expect(await database.execute(named)).toEqual({ rowCount: 1, lastInsertId: isSqlite ? 8 : null })
    await database.execute('delete from numbered where id = 8')
    const ignored = `${insert.replace('7', '9')} on conflict do nothing`
    expect(await database.execute(ignored)).toEqual({ rowCount: 0, lastInsertId: null })
    expect(await database.execute('update numbered set hits = 3')).toEqual({
      rowCount: 1,
      lastInsertId: null,
    })
    expect(await database.execute('select * from numbered')).toEqual({ rowCount: 0, lastInsertId: null })
  })

  if (context.dialect === 'sqlite') {
    it('tells no id of a table that has no rowids', async () => {
      const database = await context.open({ pool: { size: 1, maxOverflow: 0 } })
      await database.execute('create table plain (id integer primary key)')
      await database.execute('create table keyed (key text primary key) without rowid')
      expect(await database.execute('insert into plain values (41)')).toEqual({
        rowCount: 1,
        lastInsertId: 41,
      })
      for (const [index, keyed] of [
        'keyed',
        'main.keyed',
        '"keyed"',
        "'keyed'",
        '[KEYED]',
        '/* x */ keyed',
      ].entries()) {
        const inserted = await database.execute(`insert into ${keyed} values (:index)`, { index })
        expect(inserted).toEqual({ rowCount: 1, lastInsertId: null })
      }
      const copied = await database.execute('insert into keyed select id from plain')
      expect(copied).toEqual({ rowCount: 1, lastInsertId: null })
      const other = await context.open()
      await other.execute('create table later (key text primary key) without rowid')
      const later = await database.execute("insert into later values ('a')")
      expect(later).toEqual({ rowCount: 1, lastInsertId: null })
    })

    it('tells the id that an INSERT of a SELECT gave, and not an earlier one', async () => {
      const database = await context.open({ pool: { size: 1, maxOverflow: 0 } })
      await database.execute('create table copies (id integer primary key, name varchar(20))')
      const insert = "insert into copies select 5, 'five' where true"
      expect(await database.execute(insert)).toEqual({ rowCount: 1, lastInsertId: 5 })
      await database.execute("insert into copies values (6, 'six')")
      const again = await database.execute(`${insert} on conflict (id) do update set name = 'V'`)
      expect(again).toEqual({ rowCount: 1, lastInsertId: null })
    })

    it('refuses to return an integer that the driver has rounded, and says how to have it', async () => {
      const database = await context.open()
      await database.execute('create table large (id integer primary key, value bigint)')
      const statement = 'insert into large (value) values (:value) returning'
      const returned = database.fetchOne(`${statement} value`, { value: 2n ** 60n + 1n })
      const told = expect.stringContaining('RETURNING CAST(value AS TEXT)') as unknown
      expect(await valueOrMessage(returned)).toEqual(
        context.driver === 'sqlite3' ? told : { value: '1152921504606846977' },
      )
      const exact = await database.fetchVal(`${statement} cast(value as text)`, { value: 2n ** 60n + 1n })
      expect(exact).toBe('1152921504606846977')
    })
  }
})

eachDatabase('iterate', (context) => {
  it('gives columns of one name as fetchAll does', async () => {
    const database = await context.open()
    const query = 'select 1 as a, 2 as a, 3 as b'
    const [row] = await database.fetchAll(query)
    expect(row).toEqual({ a: 2, b: 3 })
    for await (const streamed of database.iterate(query)) expect(streamed).toEqual(row)
    await database.transaction(async () => {
      for await (const streamed of database.iterate(query)) expect(streamed).toEqual(row)
    })
  })

  it('yields nothing more once its signal is aborted', async () => {
    const database = await context.open()
    await database.execute('create table streamed (id integer primary key)')
    await database.executeMany(
      'insert into streamed values (:id)',
      [1, 2, 3, 4, 5].map((id) => ({ id })),
    )
    const controller = new AbortController()
    let seen = 0
    const reading = (async () => {
      for await (const _ of database.iterate('select id from streamed', {}, { signal: controller.signal })) {
        seen += 1
        if (seen === 2) controller.abort()
      }
    })()
    expect(await failure(reading)).toMatchObject({ code: 'QUERY_CANCELED' })
    expect(seen).toBe(2)
  })
})

eachDatabase('the time limit of a transaction', (context) => {
  it('includes waiting for its connection', async () => {
    const database = await context.open({ pool: { size: 1, maxOverflow: 0 } })
    const connection = await database.acquire()
    const late = failure(database.transaction(async () => undefined, { timeoutMillis: 30 }))
    expect(await late).toMatchObject({ code: 'QUERY_TIMEOUT' })
    await connection.release()
  })

  it('is one for all of its tries', async () => {
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

  it('counts among those who waited in vain, writers in SQLite included', async () => {
    const database = await context.open({ pool: { size: 1, maxOverflow: 0, acquireTimeoutMillis: 30 } })
    await database.transaction(async () => {
      const late = database.detached(() => failure(database.transaction(async () => undefined)))
      expect(await late).toMatchObject({ code: 'POOL_TIMEOUT', waiting: 0 })
    })
    expect(database.stats()).toMatchObject({ timedOut: 1, waiting: 0 })
  })
})

eachDatabase('the place of an inner transaction', (context) => {
  it('is named though it was opened beside others', async () => {
    const database = await context.open()
    await database.transaction(async (outer) => {
      const misuse = outer.transaction(async () => failure(outer.fetchVal('select 1')))
      const [error] = await Promise.all([misuse, outer.transaction(async () => undefined)])
      expect(error).toBeInstanceOf(TransactionError)
      expect(error.message).toMatch(/counts-and-limits\.test\.ts:\d+/)
    })
  })
})

// In a process of its own, because jest keeps the real `uncaughtException` to itself.
const THROWING_LISTENER = (url: string): string => `
  const { Database } = require('./src/database')
  process.on('uncaughtException', (error) => console.log('uncaught:', error.message))
  const database = new Database(${JSON.stringify(url)})
  database.connect().then(async () => {
    database.on('query', () => { throw new Error('a mistake') })
    console.log('value:', await database.fetchVal('select 1'))
    await database.disconnect()
  })
`

eachDatabase('a listener that throws', (context) => {
  it('changes nothing about the statement, and is heard of all the same', async () => {
    const { stdout } = await runScript(THROWING_LISTENER(context.url))
    expect(stdout.split('\n').toSorted()).toEqual(['', 'uncaught: a mistake', 'value: 1'])
  })
})
