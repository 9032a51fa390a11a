/** Nested transactions: savepoints that take turns, their errors, and the order of their ends. */
import { type Database, TransactionClosedError, TransactionError } from '../../../src/database'
import { arrived, endless, failure, gate, idsOf, undone } from '../support'
import { eachDatabase } from '../../support/each-database'

eachDatabase('nested transactions', (context) => {
  let database: Database

  beforeEach(async () => {
    database = await context.open({ pool: { size: 2, maxOverflow: 0 } })
    await database.execute('create table t (id integer primary key)')
  })
  afterEach(async () => {
    await context.admin('drop table t')
  })
  const insert = (id: number): Promise<unknown> => database.execute('insert into t values (:id)', { id })

  it('are rolled back alone when they fail, and with the outer one when that fails', async () => {
    await database.transaction(async (outer) => {
      await insert(1)
      await undone(
        database.transaction(async (inner) => {
          expect([outer.depth, inner.depth]).toEqual([1, 2])
          await insert(2)
          throw new Error('out')
        }),
      )
      await database.transaction(() => insert(3))
    })
    expect(await idsOf(database)).toEqual([1, 3])

    const failing = database.transaction(async () => {
      await database.transaction(() => insert(4))
      throw new Error('outer')
    })
    await expect(failing).rejects.toThrow('outer')
    expect(await idsOf(database)).toEqual([1, 3])
  })

  it('contain the error of a statement, so that the outer one goes on', async () => {
    await database.transaction(async (outer) => {
      await insert(1)
      await expect(outer.transaction(() => insert(1))).rejects.toThrow(/exists already/)
      await insert(2)
    })
    expect(await idsOf(database)).toEqual([1, 2])
  })

  it('nest to any depth', async () => {
    const nest = async (depth: number): Promise<void> => {
      if (depth > 20) return
      const work = database.transaction(async (tx) => {
        expect(tx.depth).toBe(depth)
        await insert(depth)
        await nest(depth + 1)
        if (depth % 5 === 0) throw new Error('out')
      })
      await (depth % 5 === 0 ? undone(work) : work)
    }
    await nest(1)
    expect(await idsOf(database)).toEqual([1, 2, 3, 4])
  })

  it('take turns when they are siblings', async () => {
    const log: string[] = []
    await database.transaction(async () => {
      await Promise.allSettled(
        [1, 2, 3, 4].map((id) =>
          database.transaction(async () => {
            log.push(`begin ${id}`)
            await insert(id)
            await new Promise(setImmediate)
            await insert(id + 10)
            log.push(`end ${id}`)
            if (id % 2 === 0) throw new Error('even')
          }),
        ),
      )
    })
    expect(log).toEqual([1, 2, 3, 4].flatMap((id) => [`begin ${id}`, `end ${id}`]))
    expect(await idsOf(database)).toEqual([1, 3, 11, 13])
  })

  it('delay the statements of the outer one until they end', async () => {
    const order: string[] = []
    await database.transaction(async (outer) => {
      const inside = gate()
      const inner = outer.transaction(async () => {
        await insert(1)
        await inside.opened
        await insert(2)
        order.push('inner')
        throw new Error('undone')
      })
      const ofOuter = outer.execute('insert into t values (3)').then(() => order.push('outer'))
      inside.open()
      await expect(inner).rejects.toThrow('undone')
      await ofOuter
    })
    expect(order).toEqual(['inner', 'outer'])
    expect(await idsOf(database)).toEqual([3])
  })

  it('refuse statements of the outer handle, which would deadlock, and name their own place', async () => {
    await database.transaction(async (outer) => {
      const ways = [
        () => outer.execute('insert into t values (1)'),
        () => outer.fetchVal('select 1'),
        () => outer.transaction(() => insert(2)),
        () => outer.begin(),
        () => outer.iterate('select 1').next(),
        () => outer.executeMany('insert into t values (:id)', [{ id: 3 }]),
      ]
      for (const way of ways) {
        const refused = async (): Promise<unknown> => {
          await outer.transaction(() => way())
          return undefined
        }
        const error = await failure(refused())
        expect(error).toBeInstanceOf(TransactionError)
        expect(error.message).toMatch(/outer transaction.*inside.*savepoint/s)
        expect(error.message).toContain('savepoints.test.ts')
      }
      await insert(9)
    })
    expect(await idsOf(database)).toEqual([9])
  })

  it('cannot change the isolation level or the read-only mode', async () => {
    await database.transaction(async (outer) => {
      await expect(outer.transaction(async () => 1, { readOnly: true })).rejects.toThrow(TransactionError)
      await expect(outer.transaction(async () => 1, { isolation: 'serializable' })).rejects.toThrow(
        /serializable/,
      )
    })
    const modes = { isolation: 'serializable' } as const
    expect(await database.transaction((outer) => outer.transaction(async () => 1, modes), modes)).toBe(1)
  })

  it('do not commit when the outer one was rolled back meanwhile', async () => {
    const error = await failure(
      database.transaction(async (outer) => {
        await outer.transaction(async () => {
          await insert(1)
          await outer.rollback()
        })
      }),
    )
    expect(error).toBeInstanceOf(TransactionClosedError)
    expect(await idsOf(database)).toEqual([])
  })

  it('finish before the outer one commits, when they were not awaited', async () => {
    const inside = gate()
    let inner: Promise<unknown> = Promise.resolve()
    const outer = database.transaction(async (tx) => {
      inner = tx.transaction(async () => {
        await inside.opened
        await insert(1)
      })
      await Promise.resolve()
    })
    inside.open()
    await Promise.all([outer, inner])
    expect(await idsOf(database)).toEqual([1])
  })

  it('store no row when one of several concurrent branches fails', async () => {
    for (let round = 0; round < 20; round += 1) {
      const branches: Promise<unknown>[] = []
      const failing = database.transaction(async (tx) => {
        branches.push(
          tx.execute('insert into t values (1)'),
          tx.transaction(async () => {
            await insert(2)
            await database.transaction(() => insert(3))
            await insert(4)
          }),
          insert(5),
          (async () => {
            for (let step = 0; step < round; step += 1) await Promise.resolve()
            throw new Error('branch')
          })(),
        )
        await Promise.all(branches)
      })
      await expect(failing).rejects.toThrow('branch')
      await Promise.allSettled(branches)
      expect(await idsOf(database)).toEqual([])
    }
  })

  it('are cancelled when a concurrent branch fails', async () => {
    let left: Promise<Error> | undefined
    const failing = database.transaction(async (tx) => {
      await insert(1)
      left = failure(tx.transaction((inner) => inner.fetchVal(endless(context.dialect))))
      await arrived(context, database)
      throw new Error('branch')
    })
    await expect(failing).rejects.toThrow('branch')
    expect((await left)?.name).toMatch(/QueryCanceledError|TransactionClosedError/)
    expect(await idsOf(database)).toEqual([])
  })

  it('refuse a statement that is sent after the failure of another branch', async () => {
    let late: Promise<Error> | undefined
    await undone(
      database.transaction(async (tx) => {
        const begun = gate()
        late = failure(
          tx.transaction(async () => {
            begun.open()
            while (tx.state === 'open') await new Promise(setImmediate)
            await insert(1)
          }),
        )
        // A savepoint that is still on its way would be cancelled.
        await begun.opened
        throw new Error('out')
      }),
    )
    expect(await late).toBeInstanceOf(TransactionClosedError)
    expect(await idsOf(database)).toEqual([])
  })

  it("refuse the outer one's commit", async () => {
    const committing = database.transaction(async (outer) => {
      await outer.transaction(() => outer.commit())
    })
    expect(await failure(committing)).toBeInstanceOf(TransactionError)
  })

  it('that committed are visible until the outer one is rolled back', async () => {
    await database.transaction(
      async () => {
        await database.transaction(() => insert(1))
        expect(await idsOf(database)).toEqual([1])
      },
      { forceRollback: true },
    )
    expect(await idsOf(database)).toEqual([])
  })

  it('are named by their place in an error, also among siblings', async () => {
    const database = await context.open()
    await database.transaction(async (outer) => {
      const misuse = outer.transaction(async () => failure(outer.fetchVal('select 1')))
      const [error] = await Promise.all([misuse, outer.transaction(async () => undefined)])
      expect(error).toBeInstanceOf(TransactionError)
      expect(error.message).toMatch(/savepoints\.test\.ts:\d+/)
    })
  })
})
