/** transaction(work): commit and rollback, which queries it includes, and what is refused after its end. */
import {
  type Connection,
  type Database,
  ForeignKeyViolationError,
  QueryCanceledError,
  runInScope,
  TransactionClosedError,
  TransactionError,
} from '../../../src/database'
import { endless, failure, gate, idsOf, running, undone } from '../support'
import { eachDatabase } from '../../support/each-database'

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

  it('rolls back when its work throws synchronously', async () => {
    const work = (): Promise<never> => {
      throw new Error('at once')
    }
    await expect(database.transaction(work)).rejects.toThrow('at once')
    expect(database.stats().used).toBe(0)
  })

  it('includes all queries of its work, by every method', async () => {
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

  it('includes queries of timers and events that start later', async () => {
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

  it('is not shared with a concurrent request', async () => {
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

  it('does not include detached work', async () => {
    await undone(
      database.transaction(async () => {
        await insert(1)
        expect(await database.detached(() => idsOf(database))).toEqual([])
        throw new Error('out')
      }),
    )
    expect(await committed()).toBe(0)
  })

  it('does not include queries of another Database', async () => {
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

  it('does not run its work when BEGIN fails', async () => {
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

  it('refuses every query after its end, and runs none of them', async () => {
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

  it('includes the statements of a child that was given the handle', async () => {
    await database.transaction(
      async (tx) => {
        await tx.execute('insert into t values (1)')
        const child = async (): Promise<void> => {
          await new Promise(setImmediate)
          await tx.execute('update t set id = 2')
        }
        await child()
        expect(await idsOf(database)).toEqual([2])
      },
      { forceRollback: true },
    )
    expect(await committed()).toBe(0)
  })

  it('does not include work that began before it', async () => {
    const [isOpen, isSeen] = [gate(), gate()]
    const earlier = isOpen.opened.then(async () => {
      const seen = await idsOf(database)
      isSeen.open()
      return seen
    })
    await database.transaction(async () => {
      await insert(1)
      isOpen.open()
      await isSeen.opened
    })
    expect(await earlier).toEqual([])
    expect(await idsOf(database)).toEqual([1])
  })

  it('does not include queries after its end', async () => {
    await database.transaction(() => insert(1))
    await insert(2)
    expect(await committed()).toBe(2)
    expect(database.stats().used).toBe(0)
  })
})

eachDatabase('transactions on five connections', (context) => {
  let database: Database

  beforeEach(async () => {
    database = await context.open({ pool: { size: 5, maxOverflow: 0, acquireTimeoutMillis: 2000 } })
    await database.execute('create table t (id integer primary key)')
  })
  afterEach(async () => {
    await context.admin('drop table t')
  })

  const insert = (id: number): Promise<unknown> => database.execute('insert into t values (:id)', { id })

  /** Expects that every connection can be acquired, and a transaction run. */
  const expectAllUsable = async (): Promise<void> => {
    const held = await Promise.all([1, 2, 3, 4, 5].map(() => database.acquire()))
    for (const connection of held) await connection.release()
    await database.transaction(() => database.fetchVal('select 1'))
    expect(database.stats()).toMatchObject({ used: 0, waiting: 0 })
  }

  it('lose no connection when COMMIT fails, however often', async () => {
    await database.execute(
      'create table child (id integer, t integer references t (id) deferrable initially deferred)',
    )
    for (let round = 0; round < 12; round += 1) {
      const failing = database.transaction(() => database.execute('insert into child values (1, 99)'))
      await expect(failing).rejects.toThrow(/referred to/)
    }
    await expectAllUsable()
    await database.execute('drop table child')
  })

  it('lose no connection when BEGIN fails, however often', async () => {
    for (let round = 0; round < 12; round += 1) {
      await failure(database.transaction(async () => 1, { signal: AbortSignal.abort() }))
      const nested = database.transaction((tx) =>
        tx.transaction(async () => 1, { isolation: 'serializable' }),
      )
      expect(await failure(nested)).toBeInstanceOf(TransactionError)
    }
    await expectAllUsable()
  })

  it('leave nothing open when they are aborted while a rollback runs', async () => {
    for (let round = 0; round < 40; round += 1) {
      const [first, second] = [new AbortController(), new AbortController()]
      const options = { signal: second.signal }
      const aborted = failure(
        runInScope({ signal: second.signal }, () =>
          database.transaction(async (tx) => {
            await tx.execute('insert into t values (1)')
            await tx.fetchVal(endless(context.dialect), {}, { signal: first.signal })
          }, options),
        ),
      )
      await running(database, 'select')
      first.abort()
      for (let turn = 0; turn < round; turn += 1) await new Promise(setImmediate)
      second.abort()
      expect(await aborted).toBeInstanceOf(QueryCanceledError)
      expect(await idsOf(database)).toEqual([])
    }
    await expectAllUsable()
  })

  it('are not affected by a handle that was ended twice', async () => {
    for (let round = 0; round < 3; round += 1) {
      const tx = await database.begin()
      await tx.execute('insert into t values (:round)', { round })
      await tx.commit()
      await failure(tx.commit())
      await failure(tx.begin())
    }
    expect(await idsOf(database)).toEqual([0, 1, 2])
    await expectAllUsable()
  })

  it('run concurrently, each with two queries at once', async () => {
    await Promise.all(
      Array.from({ length: 20 }, (_, id) =>
        database.transaction(async () => {
          await insert(id)
          expect(await Promise.all([1, 2].map(() => database.fetchVal('select max(id) from t')))).toEqual([
            id,
            id,
          ])
          await database.execute('delete from t where id = :id', { id })
        }),
      ),
    )
    expect(await idsOf(database)).toEqual([])
    await expectAllUsable()
  })

  it('take turns on one connection', async () => {
    await database.connection(async (connection: Connection) => {
      const outcomes = await Promise.allSettled(
        [1, 2, 3].map((id) =>
          connection.transaction(async (tx) => {
            await tx.execute('insert into t values (:id)', { id })
            await new Promise(setImmediate)
            if (id === 2) throw new Error('second')
          }),
        ),
      )
      expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    })
    expect(await idsOf(database)).toEqual([1, 3])
    await expectAllUsable()
  })

  it('that read and then write the same row all succeed, and lose no update', async () => {
    await database.execute('create table counter (n integer)')
    await database.execute('insert into counter values (0)')
    const lock = context.dialect === 'sqlite' ? '' : ' for update'
    const increment = (): Promise<void> =>
      database.transaction(async (tx) => {
        const n = (await tx.fetchVal<number>(`select n from counter${lock}`)) ?? 0
        await new Promise(setImmediate)
        await tx.execute('update counter set n = :n', { n: n + 1 })
      })
    await Promise.all(Array.from({ length: 20 }, increment))
    expect(await database.fetchVal('select n from counter')).toBe(20)
    await database.execute('drop table counter')
  })
})
