/** One connection, held: its statements take turns, and it comes back clean. */
import { type CleanupEvent, type Database, runInScope, TransactionClosedError } from '../../../src/database'
import { eachDatabase } from '../../support/each-database'
import { arrived, endless, failure, gate, idsOf, undone } from '../support'

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

  it('runs every query of its work, and goes back afterwards', async () => {
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

  it('runs one statement at a time, in the order asked', async () => {
    await database.connection(async () => {
      const order: number[] = []
      await Promise.all([1, 2, 3, 4, 5].map((id) => insert(id).then(() => order.push(id))))
      expect(order).toEqual([1, 2, 3, 4, 5])
    })
  })

  it('is the same one when asked for inside', async () => {
    await database.connection(async (outer) => {
      await database.connection(async (inner) => {
        expect(inner).toBe(outer)
      })
      await insert(1)
    })
    expect(await idsOf(database)).toEqual([1])
  })

  it('is that of the transaction when asked for inside of one', async () => {
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

  it('is not shared with work that is detached or beside it', async () => {
    await database.connection(async (connection) => {
      await connection.execute('create temporary table mine (id integer)')
      await expect(database.detached(() => database.fetchAll('select * from mine'))).rejects.toThrow(/mine/)
    })
  })

  it('goes back when its work rejects', async () => {
    const failing = database.connection(async () => {
      throw new Error('out')
    })
    await expect(failing).rejects.toThrow('out')
    expect(database.stats().used).toBe(0)
  })

  it('waits for the statements that its work did not await', async () => {
    await database.connection(async () => {
      void insert(1)
      void insert(2)
    })
    expect(await idsOf(database)).toEqual([1, 2])
  })

  it('refuses what is sent after it went back', async () => {
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

  it('opens transactions of its own', async () => {
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

  it('as a handle is yours to release, and no query uses it by itself', async () => {
    const connection = await database.acquire()
    await connection.execute('create temporary table mine (id integer)')
    await expect(database.fetchAll('select * from mine')).rejects.toThrow(/mine/)
    expect(await connection.fetchAll('select * from mine')).toEqual([])
    await connection.release()
    await connection.release()
    expect(database.stats().used).toBe(0)
    expect(await failure(connection.fetchVal('select 1'))).toBeInstanceOf(TransactionClosedError)
  })

  it('as a handle is released at the end of its block by await using', async () => {
    {
      await using connection = await database.acquire()
      expect(await connection.fetchVal('select 1')).toBe(1)
      expect(database.stats().used).toBe(1)
    }
    expect(database.stats().used).toBe(0)
  })

  it('cancels what runs on it, and refuses what waits for it, when it is released', async () => {
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

  it('has the connection of the driver behind it', async () => {
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

  it('that comes back inside a transaction is rolled back, and reported under the label of its borrower', async () => {
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

  it('that comes back in order is reported to nobody', async () => {
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
