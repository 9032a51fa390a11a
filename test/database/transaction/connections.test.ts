/** connection(work) and acquire(): a held connection runs one statement at a time, and is released clean. */
import type { Client } from 'pg'
import type { Database as SqliteDriver } from 'sqlite3'
import {
  type CleanupEvent,
  type Connection,
  Database,
  DatabaseURL,
  runInScope,
  TransactionClosedError,
} from '../../../src/database'
import { arrived, endless, failure, gate, idsOf, undone } from '../support'
import { eachDatabase } from '../../support/each-database'
import { waitFor } from '../../support/wait-for'

eachDatabase('a held connection', (context) => {
  let database: Database

  beforeEach(async () => {
    database = await context.open({ pool: { size: 2, maxOverflow: 0 } })
    await database.execute('create table t (id integer primary key)')
  })
  afterEach(async () => {
    await context.admin('drop table t')
  })
  const insert = (id: number): Promise<unknown> => database.execute('insert into t values (:id)', { id })

  it('runs every query of its work, and is released afterwards', async () => {
    const result = await database.connection(async (connection) => {
      await connection.execute('create temporary table mine (id integer)')
      await database.execute('insert into mine values (1)')
      await database.table('mine').insert({ id: 2 })
      expect(database.stats().used).toBe(1)
      return database.fetchVal('select count(*) from mine').then(Number)
    })
    expect(result).toBe(2)
    expect(database.stats().used).toBe(0)
  })

  it('runs one statement at a time, in the order of the calls', async () => {
    await database.connection(async () => {
      const order: number[] = []
      await Promise.all([1, 2, 3, 4, 5].map((id) => insert(id).then(() => order.push(id))))
      expect(order).toEqual([1, 2, 3, 4, 5])
    })
  })

  it('is the same one when connection() is called inside', async () => {
    await database.connection(async (outer) => {
      await database.connection(async (inner) => {
        expect(inner).toBe(outer)
      })
      await insert(1)
    })
    expect(await idsOf(database)).toEqual([1])
  })

  it("is the transaction's when connection() is called inside one", async () => {
    await undone(
      database.transaction(async () => {
        await database.connection(async (connection) => {
          await connection.execute('insert into t values (1)')
          await connection.release()
        })
        expect(await idsOf(database)).toEqual([1])
        throw new Error('out')
      }),
    )
    expect(await idsOf(database)).toEqual([])
  })

  it('is not shared with detached work', async () => {
    await database.connection(async (connection) => {
      await connection.execute('create temporary table mine (id integer)')
      await expect(database.detached(() => database.fetchAll('select * from mine'))).rejects.toThrow(/mine/)
    })
  })

  it('is released when its work rejects', async () => {
    const failing = database.connection(async () => {
      throw new Error('out')
    })
    await expect(failing).rejects.toThrow('out')
    expect(database.stats().used).toBe(0)
  })

  it('is released after the statements that its work did not await', async () => {
    await database.connection(async () => {
      void insert(1)
      void insert(2)
    })
    expect(await idsOf(database)).toEqual([1, 2])
  })

  it('refuses statements after its release', async () => {
    const ended = gate()
    const late: Promise<Error>[] = []
    await database.connection(async (connection) => {
      late.push(
        failure(ended.opened.then(() => connection.execute('insert into t values (1)'))),
        failure(ended.opened.then(() => insert(2))),
        failure(ended.opened.then(() => database.table('t').insert({ id: 3 }))),
        failure(ended.opened.then(() => database.transaction(() => insert(4)))),
      )
    })
    ended.open()
    for (const error of await Promise.all(late)) expect(error).toBeInstanceOf(TransactionClosedError)
    expect(await idsOf(database)).toEqual([])
  })

  it('opens its own transactions', async () => {
    await database.connection(async (connection) => {
      await connection.transaction(async (tx) => {
        expect(tx.depth).toBe(1)
        await insert(1)
      })
      await undone(connection.transaction(() => insert(2).then(() => Promise.reject(new Error('out')))))
      await using tx = await connection.begin()
      await tx.execute('insert into t values (3)')
    })
    expect(await idsOf(database)).toEqual([1])
  })

  it('from acquire() is used only by its own methods, until release()', async () => {
    const connection = await database.acquire()
    await connection.execute('create temporary table mine (id integer)')
    await expect(database.fetchAll('select * from mine')).rejects.toThrow(/mine/)
    expect(await connection.fetchAll('select * from mine')).toEqual([])
    await connection.release()
    await connection.release()
    expect(database.stats().used).toBe(0)
    expect(await failure(connection.fetchVal('select 1'))).toBeInstanceOf(TransactionClosedError)
  })

  it('from acquire() is released at the end of its block by await using', async () => {
    {
      await using connection = await database.acquire()
      expect(await connection.fetchVal('select 1')).toBe(1)
      expect(database.stats().used).toBe(1)
    }
    expect(database.stats().used).toBe(0)
  })

  it('cancels its running statement and refuses waiting ones when it is released', async () => {
    const connection = await database.acquire()
    const runs = failure(connection.fetchVal(endless(context.dialect)))
    const waits = failure(connection.execute('insert into t values (1)'))
    await arrived(context, database)
    await connection.release()
    expect((await runs).name).toBe('QueryCanceledError')
    expect(await waits).toBeInstanceOf(TransactionClosedError)
    await Promise.all([insert(2), insert(3)])
    expect(await idsOf(database)).toEqual([2, 3])
  })

  it("gives access to the driver's connection by raw", async () => {
    const property = context.dialect === 'sqlite' ? 'filename' : 'processID'
    const connection = await database.acquire()
    expect(connection.raw).toHaveProperty(property)
    await connection.release()
    expect(() => connection.raw).toThrow(TransactionClosedError)
    await database.transaction(async () => {
      const joined = await database.connection(async (held) => {
        expect(held.raw).toHaveProperty(property)
        return held
      })
      expect(() => joined.raw).toThrow(TransactionClosedError)
    })
  })

  it('that is released inside a transaction is rolled back, and reported with the label of its holder', async () => {
    const events: CleanupEvent[] = []
    database.on('cleanup', (event) => events.push(event))
    await runInScope({ label: 'GET /leak' }, () =>
      database.connection(async (connection) => {
        await connection.execute('begin')
        await connection.execute('insert into t values (1)')
      }),
    )
    expect(events).toEqual([
      { what: expect.stringContaining('open transaction') as unknown, label: 'GET /leak' },
    ])
    expect(await idsOf(database)).toEqual([])
    expect(database.stats()).toMatchObject({ used: 0, created: 1 })
    await insert(2)
    expect(await idsOf(database)).toEqual([2])
  })

  it('that is released outside of a transaction emits no cleanup event', async () => {
    const events: CleanupEvent[] = []
    database.on('cleanup', (event) => events.push(event))
    await database.transaction(() => insert(1))
    await database.connection(async (connection) => {
      await connection.execute('begin')
      await connection.execute('insert into t values (2)')
      await connection.execute('commit')
    })
    await failure(database.transaction(() => insert(1)))
    expect(events).toEqual([])
    expect(await idsOf(database)).toEqual([1, 2])
  })
})

eachDatabase('connections', (context) => {
  const raws = new Map<string, unknown>()
  const note = (who: string) => async (connection: Connection) => {
    raws.set(who, connection.raw)
  }
  beforeEach(() => {
    raws.clear()
  })

  it('are acquired on demand and released afterwards', async () => {
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

  it('differ between siblings that run at the same time', async () => {
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

  it('are shared with child work, and not with detached work', async () => {
    const database = await context.open()
    await database.connection(async (connection) => {
      await note('parent')(connection)
      await Promise.resolve().then(() => database.connection(note('child')))
      await database.detached(() => database.connection(note('detached')))
    })
    expect(raws.get('child')).toBe(raws.get('parent'))
    expect(raws.get('detached')).not.toBe(raws.get('parent'))
  })

  it('belong to one Database, also when two have the same URL', async () => {
    const [first, second] = [await context.open(), await context.open()]
    await first.connection(async (connection) => {
      await note('first')(connection)
      await second.connection(note('second'))
      await second.fetchVal('select 1')
      expect([first.stats().used, second.stats().used]).toEqual([1, 0])
    })
    expect(raws.get('first')).not.toBe(raws.get('second'))
  })

  it("run the driver's own methods by raw", async () => {
    const database = await context.open()
    await database.execute('create table notes (id integer, text varchar(100))')
    const byDriver = context.dialect === 'postgresql' ? byClient : byDatabase
    await database.connection(async ({ raw }) => {
      await byDriver(raw, "insert into notes values (1, 'example')")
      expect(await byDriver(raw, 'select text from notes')).toEqual([{ text: 'example' }])
    })
    expect(await database.fetchVal('select text from notes')).toBe('example')
  })

  it('have the URL of their Database', () => {
    const database = new Database(context.url)
    expect(database.url).toBeInstanceOf(DatabaseURL)
    expect(database.url.href).toBe(context.url)
  })
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

eachDatabase('a connection inside a transaction', (context) => {
  let database: Database

  beforeEach(async () => {
    database = await context.open()
    await database.execute('create table t (id integer primary key, name text)')
  })
  afterEach(async () => {
    await context.admin('drop table t')
  })

  it('runs its statements in that transaction until the block of the connection has ended', async () => {
    let kept: Connection | undefined
    await undone(
      database.transaction(async (tx) => {
        await database.connection(async (connection) => {
          kept = connection
          expect(connection.raw).toBe(await database.connection(async ({ raw }) => raw))
          await connection.execute("insert into t values (1, 'x')")
          const inner = await connection.begin()
          await inner.execute("insert into t values (2, 'x')")
          await inner.rollback()
          await connection
            .transaction(() => connection.execute("insert into t values (3, 'x')").then(() => undefined))
            .catch(() => undefined)
        })
        await expect(kept?.fetchVal('select 1')).rejects.toThrow(TransactionClosedError)
        await expect(kept?.begin()).rejects.toThrow(TransactionClosedError)
        await expect(kept?.transaction(() => Promise.resolve())).rejects.toThrow(TransactionClosedError)
        expect(await tx.fetchVal('select count(*) from t where id = 1')).toEqual(
          context.dialect === 'sqlite' ? 1 : '1',
        )
        throw new Error('out')
      }),
    )
    expect(await idsOf(database)).toEqual([])
  })
})
