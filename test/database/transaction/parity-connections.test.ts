/** What the Python library `databases` tests about connections, and no other file here does. */
import type { Client } from 'pg'
import type { Database as SqliteDriver } from 'sqlite3'
import {
  type Connection,
  Database,
  DatabaseURL,
  PoolTimeoutError,
  QueryCanceledError,
} from '../../../src/database'
import { eachDatabase } from '../../support/each-database'
import { waitFor } from '../../support/wait-for'
import { failure, gate } from '../support'

eachDatabase('connections, as in databases', (context) => {
  const raws = new Map<string, unknown>()
  const note = (who: string) => async (connection: Connection) => {
    raws.set(who, connection.raw)
  }
  beforeEach(() => {
    raws.clear()
  })

  it('are lent when they are needed, and come back: none, two, none', async () => {
    const database = await context.open()
    const [both, done] = [gate(), gate()]
    const hold = (): Promise<void> => database.connection(() => done.opened)
    expect(database.stats().used).toBe(0)
    const holders = Promise.all([hold(), hold(), both.opened])
    await waitFor(() => database.stats().used === 2)
    both.open()
    done.open()
    await holders
    expect(database.stats().used).toBe(0)
  })

  it('differ between siblings that run beside each other', async () => {
    const database = await context.open()
    let arrived = 0
    const together = gate()
    const meet = (who: string): Promise<void> =>
      database.connection(async (connection) => {
        await note(who)(connection)
        arrived += 1
        if (arrived === 2) together.open()
        await together.opened
      })
    await Promise.all([meet('first'), meet('second')])
    expect(raws.get('first')).not.toBe(raws.get('second'))
  })

  it('are the same for a child, and another one for work that is detached', async () => {
    const database = await context.open()
    await database.connection(async (connection) => {
      await note('parent')(connection)
      await Promise.resolve().then(() => database.connection(note('child')))
      await database.detached(() => database.connection(note('detached')))
    })
    expect(raws.get('child')).toBe(raws.get('parent'))
    expect(raws.get('detached')).not.toBe(raws.get('parent'))
  })

  it('belong to one Database, also where two have the same URL', async () => {
    const [first, second] = [await context.open(), await context.open()]
    await first.connection(async (connection) => {
      await note('first')(connection)
      await second.connection(note('second'))
      await second.fetchVal('select 1')
      expect([first.stats().used, second.stats().used]).toEqual([1, 0])
    })
    expect(raws.get('first')).not.toBe(raws.get('second'))
  })

  it('have the driver behind them, for all that it can do', async () => {
    const database = await context.open()
    await database.execute('create table notes (id integer, text varchar(100))')
    const byDriver = context.dialect === 'postgresql' ? byClient : byDatabase
    await database.connection(async ({ raw }) => {
      await byDriver(raw, "insert into notes values (1, 'example')")
      expect(await byDriver(raw, 'select text from notes')).toEqual([{ text: 'example' }])
    })
    expect(await database.fetchVal('select text from notes')).toBe('example')
  })

  it('know the URL that they go to', () => {
    const database = new Database(context.url)
    expect(database.url).toBeInstanceOf(DatabaseURL)
    expect(database.url.href).toBe(context.url)
  })

  it('can be had after a query that got none, whether it gave up or was called off', async () => {
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

  it('are as many as the URL says', async () => {
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

  if (context.dialect === 'sqlite') {
    it('in memory are one, which keeps its tables until disconnect()', async () => {
      const database = context.track(new Database(context.memoryUrl))
      await database.connect()
      await database.execute('create table notes (id integer)')
      await Promise.all([1, 2, 3].map((id) => database.execute('insert into notes values (:id)', { id })))
      expect(await database.fetchVal('select count(*) from notes')).toBe(3)
      await database.disconnect()
      await database.connect()
      await expect(database.fetchVal('select count(*) from notes')).rejects.toThrow(/no such table/)
    })

    it('in memory serve a loop and the queries in it', async () => {
      const database = await context.open({}, context.memoryUrl)
      await database.execute('create table notes (id integer)')
      await database.executeMany('insert into notes values (:id)', [{ id: 1 }, { id: 2 }, { id: 3 }])
      let seen = 0
      for await (const { id } of database.iterate<{ id: number }>(
        'select * from notes',
        {},
        { batchSize: 1 },
      )) {
        seen += 1
        if (seen > 10) break
        await database.execute('insert into notes values (:id)', { id })
      }
      expect(seen).toBe(3)
    })

    it('in memory are not shared by two Databases', async () => {
      const [first, second] = [
        await context.open({}, context.memoryUrl),
        await context.open({}, context.memoryUrl),
      ]
      await first.execute('create table notes (id integer)')
      await expect(second.fetchAll('select * from notes')).rejects.toThrow(/no such table/)
    })
  }
})

async function byClient(raw: unknown, text: string): Promise<unknown[]> {
  return (await (raw as Client).query(text)).rows
}

function byDatabase(raw: unknown, text: string): Promise<unknown[]> {
  return new Promise((resolve, reject) => {
    ;(raw as SqliteDriver).all(text, (error, rows) => {
      if (error) reject(error)
      else resolve(rows)
    })
  })
}
