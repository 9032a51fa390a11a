/** BEGIN waits for the first statement of its transaction: whatever that is, it runs inside. */
import { type Database, QueryError, sql, type Transaction } from '../../src/database'
import { eachDatabase } from '../support/each-database'
import { failure } from './support'

eachDatabase('a transaction', (context) => {
  let database: Database
  /** Sees what others see. */
  let observer: Database

  beforeEach(async () => {
    database = await context.open({ pool: { size: 1, maxOverflow: 0 } })
    observer = await context.open()
    await database.execute('create table t (id integer primary key)')
  })
  afterEach(async () => {
    await context.admin('drop table t')
  })

  const ids = async (): Promise<unknown[]> =>
    (await observer.fetchAll('select id from t order by id')).map(({ id }) => id)

  const insert = 'insert into t values (1)'
  const firsts: [string, (tx: Transaction) => Promise<unknown>][] = [
    ['a statement', (tx) => tx.execute(insert)],
    ['a builder', (tx) => tx.execute(database.table('t').insert({ id: 1 }))],
    ['a raw of Knex', () => Promise.resolve(database.knex.raw(insert))],
    ['many rows', (tx) => tx.executeMany('insert into t values (:id)', [{ id: 1 }])],
    ['a transaction in it', (tx) => tx.transaction((inner) => inner.execute(insert))],
    [
      'a transaction in it that is rolled back',
      async (tx) => {
        await failure(
          tx.transaction(async (inner) => {
            await inner.execute('insert into t values (2)')
            throw new Error('out')
          }),
        )
        await tx.execute(insert)
      },
    ],
    [
      'rows that are read one by one',
      async (tx) => {
        for await (const row of tx.iterate('select 1 as id')) expect(row).toEqual({ id: 1 })
        await tx.execute(insert)
      },
    ],
    [
      'a value that cannot be sent',
      async (tx) => {
        expect(await failure(tx.execute('insert into t values (:id)', { id: Symbol('no') }))).toBeDefined()
        await tx.execute(insert)
      },
    ],
  ]

  if (context.dialect === 'postgresql') {
    const several = `${insert}; select 2`
    firsts.push(['two statements in one raw', () => Promise.resolve(database.knex.raw(several))])
  }

  it.each(firsts)('that begins with %s is all or nothing', async (_, first) => {
    await failure(
      database.transaction(async (tx) => {
        await first(tx)
        throw new Error('out')
      }),
    )
    expect(await ids()).toEqual([])
    await database.transaction(async (tx) => {
      await first(tx)
      expect(await ids()).toEqual([])
    })
    expect(await ids()).toEqual([1])
    expect(database.stats()).toMatchObject({ used: 0, created: 1, retired: 0 })
  })

  it('that begins with an error is rolled back, and its connection is as it was', async () => {
    const work = database.transaction(async (tx) => {
      await tx.execute('insert into nowhere values (1)')
    })
    expect(await failure(work)).toBeInstanceOf(QueryError)
    await database.execute(insert)
    expect(await ids()).toEqual([1])
    expect(database.stats()).toMatchObject({ used: 0, created: 1, retired: 0 })
  })

  it('that does nothing commits and rolls back, and tells that it was there', async () => {
    const told: string[] = []
    database.on('query', ({ sql: text }) => told.push(text.split(' ')[0] ?? ''))
    await database.transaction(async () => undefined)
    await failure(database.transaction(() => Promise.reject(new Error('out'))))
    expect(told).toEqual(['BEGIN', 'COMMIT', 'BEGIN', 'ROLLBACK'])
    expect(await ids()).toEqual([])
    expect(database.stats()).toMatchObject({ used: 0, created: 1, retired: 0 })
  })

  it('is one for its holders from the start', async () => {
    await database.transaction(async () => {
      expect(database.holders()).toMatchObject([{ inTransaction: true }])
    })
  })

  if (context.dialect === 'sqlite') return

  const stateOf = (pid: unknown): Promise<unknown> =>
    observer.fetchVal('select state from pg_stat_activity where pid = :pid', { pid })

  it('keeps no server waiting for its first statement', async () => {
    const pid = await database.fetchVal('select pg_backend_pid()')
    await database.transaction(async (tx) => {
      expect(await stateOf(pid)).toBe('idle')
      await tx.fetchVal('select 1')
      expect(await stateOf(pid)).toBe('idle in transaction')
    })
    expect(await stateOf(pid)).toBe('idle')
  })

  it('is there for those who use the connection of the driver', async () => {
    interface Raw {
      query(text: string): Promise<{ rows: unknown[] }>
    }
    const work = database.connection(async (connection) => {
      await connection.transaction(async (tx) => {
        await (connection.raw as Raw).query(insert)
        expect(await tx.fetchVal('select count(*)::int from t')).toBe(1)
        throw new Error('out')
      })
    })
    await failure(work)
    expect(await ids()).toEqual([])
  })

  it('has its modes from the first statement on', async () => {
    const readOnly = database.transaction((tx) => tx.execute(insert), { readOnly: true })
    expect((await failure(readOnly)).message).toMatch(/read-only/)
    await database.transaction(
      async (tx) => {
        expect(await tx.fetchVal('show transaction_isolation')).toBe('repeatable read')
        await observer.execute(insert)
        expect(await tx.fetchAll('select * from t')).toEqual([{ id: 1 }])
        await observer.execute('insert into t values (2)')
        expect(await tx.fetchAll('select * from t')).toEqual([{ id: 1 }])
      },
      { isolation: 'repeatable read' },
    )
  })

  it.each([0, 2, 250])('begins where %s statements are kept prepared', async (preparedStatements) => {
    const own = await context.open({ pool: { size: 1, maxOverflow: 0 }, preparedStatements })
    for (let round = 0; round < 5; round += 1) {
      await own.transaction(async (tx) => {
        expect(await tx.fetchVal(sql`select ${round}::int`)).toBe(round)
        await tx.execute(`insert into t values (${round})`)
      })
    }
    expect(await ids()).toEqual([0, 1, 2, 3, 4])
  })

  it('begins anew with a statement whose columns have changed', async () => {
    const read = (tx: Pick<Transaction, 'fetchAll'>): Promise<unknown> => tx.fetchAll('select * from t')
    await database.execute(insert)
    await database.transaction(read)
    await observer.execute('alter table t add column name text')
    await database.transaction(async (tx) => {
      expect(await read(tx)).toEqual([{ id: 1, name: null }])
      await tx.execute('insert into t values (2)')
    })
    expect(await ids()).toEqual([1, 2])
  })

  it('begins anew where the server has forgotten all statements', async () => {
    await database.transaction((tx) => tx.execute(insert))
    const pid = await database.fetchVal('select pg_backend_pid()')
    await database.connection((connection) => connection.execute('deallocate all'))
    await database.transaction((tx) => tx.execute('insert into t values (2)'))
    expect(await ids()).toEqual([1, 2])
    expect(await database.fetchVal('select pg_backend_pid()')).toBe(pid)
  })
})
