/** Transaction handles: begin(), commit(), rollback(), and what is refused afterwards. */
import {
  ConfigurationError,
  type Database,
  TransactionClosedError,
  TransactionError,
} from '../../../src/database'
import { failure, idsOf } from '../support'
import { eachDatabase } from '../../support/each-database'

eachDatabase('a transaction handle', (context) => {
  let database: Database

  beforeEach(async () => {
    database = await context.open({ pool: { size: 2, maxOverflow: 0 } })
    await database.execute('create table t (id integer primary key)')
  })
  afterEach(async () => {
    await context.admin('drop table t')
  })

  it('runs only its own queries', async () => {
    const tx = await database.begin()
    await tx.execute('insert into t values (1)')
    await tx.execute(database.table('t').insert({ id: 2 }))
    expect(await idsOf(database)).toEqual([])
    await tx.commit()
    expect(await idsOf(database)).toEqual([1, 2])
    expect(tx.state).toBe('committed')
    expect(database.stats().used).toBe(0)
  })

  it('releases its connection on rollback', async () => {
    const tx = await database.begin()
    await tx.execute('insert into t values (1)')
    await tx.rollback()
    expect(tx.state).toBe('rolled back')
    expect(database.stats().used).toBe(0)
    expect(await idsOf(database)).toEqual([])
  })

  it('is rolled back at the end of its block by await using', async () => {
    {
      await using tx = await database.begin()
      await tx.execute('insert into t values (1)')
    }
    {
      await using tx = await database.begin()
      await tx.execute('insert into t values (2)')
      await tx.commit()
    }
    expect(await idsOf(database)).toEqual([2])
    expect(database.stats().used).toBe(0)
  })

  it('refuses a second commit, a commit after rollback, and a rollback after commit', async () => {
    const committed = await database.begin()
    await committed.commit()
    await expect(committed.commit()).rejects.toThrow(TransactionClosedError)
    await expect(committed.rollback()).rejects.toThrow(/committed already/)
    await expect(committed.execute('insert into t values (1)')).rejects.toThrow(TransactionClosedError)

    const rolledBack = await database.begin()
    await rolledBack.rollback()
    await rolledBack.rollback()
    await expect(rolledBack.commit()).rejects.toThrow(/rolled back already/)
    expect(() => {
      rolledBack.afterCommit(() => undefined)
    }).toThrow(TransactionClosedError)
    expect(await idsOf(database)).toEqual([])
  })

  it('commits once when commit() is called twice at the same time', async () => {
    const tx = await database.begin()
    await tx.execute('insert into t values (1)')
    const [first, second] = await Promise.allSettled([tx.commit(), tx.commit()])
    expect([first.status, second.status]).toEqual(['fulfilled', 'rejected'])
    expect(await idsOf(database)).toEqual([1])
  })

  it('commits after the statements that were sent before', async () => {
    const tx = await database.begin()
    const inserts = [1, 2, 3].map((id) => tx.execute('insert into t values (:id)', { id }))
    await tx.commit()
    await Promise.all(inserts)
    expect(await idsOf(database)).toEqual([1, 2, 3])
  })

  it('refuses to commit while a nested one is open, and stays open', async () => {
    const outer = await database.begin()
    const inner = await outer.begin()
    expect(inner.depth).toBe(2)
    await inner.execute('insert into t values (1)')
    await expect(outer.commit()).rejects.toThrow(/still open/)
    expect(outer.state).toBe('open')
    await inner.commit()
    await outer.commit()
    expect(await idsOf(database)).toEqual([1])
  })

  it('rolls back the nested one when it is rolled back', async () => {
    const outer = await database.begin()
    const inner = await outer.begin()
    await inner.execute('insert into t values (1)')
    await outer.rollback()
    await expect(inner.execute('insert into t values (2)')).rejects.toThrow(TransactionClosedError)
    await expect(inner.commit()).rejects.toThrow(TransactionClosedError)
    await inner.rollback()
    expect(await idsOf(database)).toEqual([])
    expect(database.stats().used).toBe(0)
  })

  it('that is still open makes the transaction around it reject and roll back', async () => {
    const error = await failure(
      database.transaction(async (tx) => {
        await tx.execute('insert into t values (1)')
        await database.begin()
      }),
    )
    expect(error).toBeInstanceOf(TransactionError)
    expect(error.message).toMatch(/still open/)
    expect(await idsOf(database)).toEqual([])
  })

  it('delays the outer one for at most the acquire timeout, and is then named by its place', async () => {
    const impatient = await context.open({ pool: { acquireTimeoutMillis: 50 } })
    await using outer = await impatient.begin()
    await using _inner = await outer.begin()
    const error = await failure(outer.fetchVal('select 1'))
    expect(error).toBeInstanceOf(TransactionError)
    expect(error.message).toMatch(/50 ms/)
    expect(error.message).toContain('transaction-handles.test.ts')
  })

  it('works in another async context than the one that began it', async () => {
    const tx = await Promise.resolve().then(() => database.begin())
    await new Promise<void>((resolve, reject) => {
      setImmediate(() => {
        tx.execute('insert into t values (1)')
          .then(() => tx.commit())
          .then(resolve, reject)
      })
    })
    expect(await idsOf(database)).toEqual([1])
  })

  it('may be ended inside its block, which can send no statement afterwards', async () => {
    await database.transaction(async (tx) => {
      await tx.execute('insert into t values (1)')
      await tx.commit()
      expect(await failure(tx.execute('insert into t values (2)'))).toBeInstanceOf(TransactionClosedError)
      expect(await failure(database.execute('insert into t values (3)'))).toBeInstanceOf(
        TransactionClosedError,
      )
    })
    expect(await database.transaction(async (tx) => tx.rollback().then(() => 'result'))).toBe('result')
    expect(await idsOf(database)).toEqual([1])
  })

  it('that was committed inside its block stays committed when the block throws', async () => {
    const failing = database.transaction(async (tx) => {
      await tx.execute('insert into t values (1)')
      await tx.commit()
      throw new Error('too late')
    })
    await expect(failing).rejects.toThrow('too late')
    expect(await idsOf(database)).toEqual([1])
  })

  it('makes its block reject when its commit inside failed and was caught', async () => {
    await database.execute(
      'create table child (id integer, t integer references t (id) deferrable initially deferred)',
    )
    const failing = database.transaction(async (tx) => {
      await tx.execute('insert into child values (1, 99)')
      await tx.commit().catch(() => undefined)
    })
    await expect(failing).rejects.toThrow(/referred to/)
    expect(await database.fetchAll('select * from child')).toEqual([])
    await context.admin('drop table child')
  })

  it('refuses retries and forceRollback', async () => {
    expect(await failure(database.begin({ retries: 1 }))).toBeInstanceOf(ConfigurationError)
    expect(await failure(database.begin({ forceRollback: true }))).toBeInstanceOf(ConfigurationError)
  })
})

eachDatabase('a transaction handle whose connection was released', (context) => {
  let database: Database

  beforeEach(async () => {
    database = await context.open({ pool: { size: 1, maxOverflow: 0, acquireTimeoutMillis: 1000 } })
    await database.execute('create table t (id integer primary key)')
  })
  afterEach(async () => {
    await context.admin('drop table t')
  })

  it("does not commit or roll back the next caller's transaction", async () => {
    for (const end of ['commit', 'rollback'] as const) {
      const connection = await database.acquire()
      const stale = await connection.begin()
      await connection.release()
      const nextCaller = database.transaction(async (tx) => {
        await tx.execute('insert into t values (1)')
        await Promise.allSettled([stale[end]()])
        await tx.execute('insert into t values (2)')
        throw new Error('next caller')
      })
      await expect(nextCaller).rejects.toThrow('next caller')
      expect(await idsOf(database)).toEqual([])
    }
  })

  it('refuses to commit after its connection block failed', async () => {
    let stale: { commit(): Promise<void> } | undefined
    await failure(
      database.connection(async (connection) => {
        stale = await connection.begin()
        throw new Error('out')
      }),
    )
    expect(await failure(stale?.commit() ?? Promise.resolve())).toBeInstanceOf(TransactionClosedError)
  })

  it('is rolled back when its connection block left it open, and the block rejects', async () => {
    const leaving = database.connection(async (connection) => {
      const tx = await connection.begin()
      await tx.execute('insert into t values (1)')
    })
    expect((await failure(leaving)).message).toMatch(/still open/)
    expect(await idsOf(database)).toEqual([])
  })
})
