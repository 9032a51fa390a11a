/** forceRollback: a Database, or a block, of which everything is rolled back. */
import { type Database, QueryError, TransactionError, UniqueViolationError } from '../../../src/database'
import { all, failure, idsOf, numbers } from '../support'
import { eachDatabase } from '../../support/each-database'

eachDatabase('a forced rollback', (context) => {
  let plain: Database

  beforeEach(async () => {
    plain = await context.open({ pool: { size: 2, maxOverflow: 0 } })
    await plain.execute('create table t (id integer primary key)')
  })
  afterEach(async () => {
    await context.admin('drop table t')
  })
  const committed = async (): Promise<number> =>
    Number((await context.admin('select count(*) as n from t'))[0]?.['n'])
  /** Runs work on a Database of which everything is rolled back, from connect() to disconnect(). */
  const forced = async (work: (database: Database) => Promise<void>): Promise<void> => {
    const database = await context.open({ forceRollback: true, pool: { size: 2, maxOverflow: 0 } })
    try {
      await work(database)
    } finally {
      await database.disconnect()
    }
  }

  it('rolls everything back at disconnect()', async () => {
    for (let round = 0; round < 2; round += 1) {
      await forced(async (database) => {
        expect(await idsOf(database)).toEqual([])
        await database.execute('insert into t values (1)')
        await database.table('t').insert({ id: 2 })
        await database.transaction(() => database.execute('insert into t values (3)'))
        expect(await idsOf(database)).toEqual([1, 2, 3])
      })
      expect(await committed()).toBe(0)
    }
  })

  it('rolls back everything that was done in a block', async () => {
    const result = await plain.forceRollback(async () => {
      await plain.execute('insert into t values (1)')
      return idsOf(plain)
    })
    expect(result).toEqual([1])
    expect(await idsOf(plain)).toEqual([])
    await plain.execute('insert into t values (2)')
    expect(await committed()).toBe(1)
  })

  it('rolls back a block that throws, and refuses a nested block', async () => {
    const error = new Error('out')
    const failing = plain.forceRollback(async () => {
      await plain.execute('insert into t values (1)')
      expect(await failure(plain.forceRollback(async () => 1))).toBeInstanceOf(TransactionError)
      throw error
    })
    expect(await failure(failing)).toBe(error)
    expect(await committed()).toBe(0)
    expect(plain.stats().used).toBe(0)
  })

  it('rolls back schema changes, by builders as well', async () => {
    await forced(async (database) => {
      await database.execute(database.knex.schema.createTable('made', (table) => table.integer('id')))
      await database.execute(database.knex.schema.dropTable('t'))
      expect(await database.knex.schema.hasTable('t')).toBe(false)
      expect(await database.knex.schema.hasTable('made')).toBe(true)
    })
    expect(await plain.knex.schema.hasTable('t')).toBe(true)
    expect(await plain.knex.schema.hasTable('made')).toBe(false)
  })

  it('runs concurrent queries', async () => {
    await forced(async (database) => {
      const query = numbers(context.dialect, 3)
      const results = await Promise.all([1, 2, 3, 4].map(() => database.fetchAll(query)))
      for (const rows of results) expect(rows).toHaveLength(3)
    })
  })

  it('runs concurrent transactions, and rolls back only those that failed', async () => {
    await forced(async (database) => {
      const add = database.transactional(async (id: number) => {
        await database.execute('insert into t values (:id)', { id })
        if (id % 2 === 0) throw new Error('even')
        return id
      })
      const outcomes = await Promise.allSettled([1, 2, 3, 4].map((id) => add(id)))
      expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'rejected'])
      expect(await idsOf(database)).toEqual([1, 3])
    })
  })

  it('runs queries of unrelated async contexts', async () => {
    await forced(async (database) => {
      await new Promise<void>((resolve, reject) => {
        setImmediate(() => {
          database.execute('insert into t values (1)').then(() => {
            resolve()
          }, reject)
        })
      })
      const handle = await database.begin()
      await handle.execute('insert into t values (2)')
      await handle.commit()
      await using connection = await database.acquire()
      expect(await connection.fetchAll('select id from t order by id')).toEqual([{ id: 1 }, { id: 2 }])
      expect(await all(database.iterate('select id from t order by id'))).toHaveLength(2)
    })
  })

  it('continues after a failed statement, in a transaction and outside', async () => {
    await forced(async (database) => {
      await database.execute('insert into t values (1)')
      expect(await failure(database.execute('insert into t values (1)'))).toBeInstanceOf(UniqueViolationError)
      expect(await failure(database.fetchAll('select nothing from nowhere'))).toBeInstanceOf(QueryError)
      expect(await failure(Promise.resolve(database.table('nowhere')))).toBeInstanceOf(QueryError)
      await failure(database.transaction(() => database.execute('insert into t values (1)')))
      await database.execute('insert into t values (2)')
      expect(await idsOf(database)).toEqual([1, 2])
    })
  })

  it('continues after a failed statement on a stream, a held connection or a handle', async () => {
    await forced(async (database) => {
      const wrong = 'select nothing from nowhere'
      const byHandle = async (): Promise<unknown> => {
        await using connection = await database.acquire()
        return connection.fetchAll(wrong)
      }
      for (const way of [
        () => all(database.iterate(wrong)),
        () => all(database.table('nowhere').stream()),
        () => database.connection((connection) => connection.execute(wrong)),
        byHandle,
      ]) {
        await failure(way())
        expect(await database.fetchVal('select 1')).toBe(1)
      }
    })
  })

  it('can begin and end in different async contexts, as test hooks do', async () => {
    let database: Database | undefined
    await Promise.resolve().then(async () => {
      database = await context.open({ forceRollback: true })
    })
    await Promise.resolve().then(() => database?.execute('insert into t values (1)'))
    await new Promise<void>((resolve, reject) => {
      setImmediate(() => {
        database?.disconnect().then(resolve, reject)
      })
    })
    expect(await committed()).toBe(0)
  })

  it('runs afterCommit hooks', async () => {
    const log: string[] = []
    await forced(async (database) => {
      await database.transaction(async (tx) => {
        tx.afterCommit(() => log.push('mail'))
      })
      expect(log).toEqual(['mail'])
    })
  })
})

eachDatabase('a forced rollback', (context) => {
  let database: Database

  beforeEach(async () => {
    database = await context.open()
  })

  it('refuses a second forced rollback at the same time', async () => {
    await database.execute('create table forced (id integer)')
    const first = database.forceRollback(async () => database.execute('insert into forced values (1)'))
    expect(await failure(database.forceRollback(async () => undefined))).toBeInstanceOf(TransactionError)
    await first
    expect(await database.fetchAll('select * from forced')).toEqual([])
    const inside = database.transaction(() => database.forceRollback(async () => undefined))
    expect(await failure(inside)).toBeInstanceOf(TransactionError)
    await database.execute('drop table forced')
  })
})
