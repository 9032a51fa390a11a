/** Transactions one by one: all or nothing, ambient, and gone when they are over. */
import { type Database, ForeignKeyViolationError, TransactionClosedError } from '../../../src/database'
import { eachDatabase } from '../../support/each-database'
import { failure, gate, idsOf, undone } from '../support'

eachDatabase('a transaction', (context) => {
  let database: Database

  beforeEach(async () => {
    database = await context.open({ pool: { size: 2, maxOverflow: 0 } })
    await database.execute('create table t (id integer primary key)')
  })
  afterEach(async () => {
    await context.admin('drop table t')
  })
  const insert = (id: number): Promise<unknown> => database.execute('insert into t values (:id)', { id })
  /** Counts over another connection: what is committed. */
  const committed = async (): Promise<number> =>
    Number((await context.admin('select count(*) as n from t'))[0]?.['n'])

  it('commits when its work resolves, and returns what the work returns', async () => {
    const result = await database.transaction(async (tx) => {
      await insert(1)
      expect(await committed()).toBe(0)
      expect(tx.state).toBe('open')
      expect(tx.depth).toBe(1)
      return 'done'
    })
    expect(result).toBe('done')
    expect(await committed()).toBe(1)
  })

  it('rolls back when its work rejects, and rejects with the same error', async () => {
    const error = new Error('out')
    expect(
      await failure(
        database.transaction(async () => {
          await insert(1)
          throw error
        }),
      ),
    ).toBe(error)
    expect(await committed()).toBe(0)
  })

  it('rolls back when its work throws before its first await', async () => {
    const work = (): Promise<never> => {
      throw new Error('at once')
    }
    await expect(database.transaction(work)).rejects.toThrow('at once')
    expect(database.stats().used).toBe(0)
  })

  it('has all queries of its work, however they are made', async () => {
    await undone(
      database.transaction(async (tx) => {
        await tx.execute('insert into t values (1)')
        await database.execute('insert into t values (2)')
        await database.table('t').insert({ id: 3 })
        await database.knex('t').insert({ id: 4 })
        await database.executeMany('insert into t values (:id)', [{ id: 5 }])
        await database.connection((connection) => connection.execute('insert into t values (6)'))
        await database.knex.raw('insert into t values (7)')
        expect(await idsOf(database)).toEqual([1, 2, 3, 4, 5, 6, 7])
        expect(
          await database
            .table('t')
            .count({ n: '*' })
            .first()
            .then((row) => Number(row?.['n'])),
        ).toBe(7)
        throw new Error('out')
      }),
    )
    expect(await committed()).toBe(0)
  })

  it('is found by descendants that start later, in timers and events', async () => {
    await undone(
      database.transaction(async () => {
        await new Promise((resolve, reject) => {
          setImmediate(() => {
            insert(1).then(resolve, reject)
          })
        })
        throw new Error('out')
      }),
    )
    expect(await committed()).toBe(0)
  })

  it('is not shared with a sibling request', async () => {
    const [written, seen] = [gate(), gate()]
    const first = database.transaction(async () => {
      await insert(1)
      written.open()
      await seen.opened
    })
    await written.opened
    expect(await idsOf(database)).toEqual([])
    expect(await database.transaction(() => idsOf(database), { readOnly: true })).toEqual([])
    seen.open()
    await first
    expect(await idsOf(database)).toEqual([1])
  })

  it('is not entered by work that is detached', async () => {
    await undone(
      database.transaction(async () => {
        await insert(1)
        expect(await database.detached(() => idsOf(database))).toEqual([])
        throw new Error('out')
      }),
    )
    expect(await committed()).toBe(0)
  })

  it('is shared by no other database', async () => {
    const other = await context.open({}, await context.createDatabase())
    await other.execute('create table t (id integer)')
    await undone(
      database.transaction(async () => {
        await insert(1)
        await other.execute('insert into t values (1)')
        await other.transaction(() => other.execute('insert into t values (2)'))
        throw new Error('out')
      }),
    )
    expect(await committed()).toBe(0)
    expect(await idsOf(other)).toEqual([1, 2])
  })

  it('does not begin its work when BEGIN fails', async () => {
    let ran = false
    await expect(
      database.transaction(
        async () => {
          ran = true
        },
        { signal: AbortSignal.abort() },
      ),
    ).rejects.toThrow(/cancelled/)
    expect(ran).toBe(false)
    expect(database.stats().used).toBe(0)
  })

  it('rejects when COMMIT fails, and leaves its connection clean', async () => {
    await database.execute(
      'create table child (id integer, t integer references t (id) deferrable initially deferred)',
    )
    const failing = (): Promise<unknown> =>
      database.transaction(async () => {
        await database.execute('insert into child values (1, 99)')
      })
    expect(await failure(failing())).toBeInstanceOf(ForeignKeyViolationError)
    await Promise.all([1, 2].map(() => failure(failing())))
    expect(await database.fetchAll('select * from child')).toEqual([])
    await database.transaction(async () => {
      await database.execute('insert into child values (1, 99)')
      await insert(99)
    })
    expect(await database.fetchAll('select id from child')).toHaveLength(1)
    await context.admin('drop table child')
  })

  it('refuses what comes after its end, in whichever way, and runs nothing of it', async () => {
    const late: Promise<Error>[] = []
    await database.transaction(async (tx) => {
      const after = async (work: () => unknown): Promise<unknown> => {
        while (tx.state === 'open') await new Promise(setImmediate)
        return work()
      }
      const ways = [
        () => tx.execute('insert into t values (1)'),
        () => database.execute('insert into t values (2)'),
        () => database.table('t').insert({ id: 3 }),
        () => database.knex.raw('insert into t values (4)'),
        () => database.transaction(() => insert(5)),
        () => database.executeMany('insert into t values (:id)', [{ id: 6 }]),
        () => database.begin(),
        () => tx.transaction(() => insert(7)),
        () => database.connection((connection) => connection.execute('insert into t values (8)')),
        () => database.iterate('insert into t values (9) returning id').next(),
        () => database.execute(database.knex.schema.createTable('late', (table) => table.integer('id'))),
      ]
      late.push(...ways.map((way) => failure(after(way))))
    })
    for (const error of await Promise.all(late)) expect(error).toBeInstanceOf(TransactionClosedError)
    expect(await committed()).toBe(0)
  })

  it('wraps a function, whose calls join the transaction of their caller', async () => {
    const add = database.transactional(async (id: number, fails: boolean) => {
      await insert(id)
      if (fails) throw new Error('out')
      return id
    })
    expect(await add(1, false)).toBe(1)
    await expect(add(2, true)).rejects.toThrow('out')
    await undone(
      database.transaction(async () => {
        await add(3, false)
        throw new Error('out')
      }),
    )
    expect(await idsOf(database)).toEqual([1])
  })
})
