/** afterCommit and afterRollback: hooks that run when the outermost transaction has ended. */
import { type Database, TransactionError } from '../../../src/database'
import { endless, failure, idsOf, running, undone } from '../support'
import { eachDatabase } from '../../support/each-database'

eachDatabase('a transaction hook', (context) => {
  const slow = endless(context.dialect)
  let database: Database
  let log: string[]

  beforeEach(async () => {
    log = []
    database = await context.open({ pool: { size: 1, maxOverflow: 0 } })
    await database.execute('create table t (id integer primary key)')
  })
  afterEach(async () => {
    await context.admin('drop table t')
  })
  const note =
    (text: string): (() => void) =>
    () => {
      log.push(text)
    }

  it('runs after the commit, in the order of registration, and is awaited', async () => {
    await database.transaction(async (tx) => {
      tx.afterCommit(async () => {
        await new Promise(setImmediate)
        log.push('first')
      })
      tx.afterCommit(note('second'))
      tx.afterRollback(note('never'))
      log.push('work')
    })
    expect(log).toEqual(['work', 'first', 'second'])
  })

  it('runs after the rollback', async () => {
    await undone(
      database.transaction(async (tx) => {
        tx.afterCommit(note('never'))
        tx.afterRollback(note('rolled back'))
        throw new Error('out')
      }),
    )
    expect(log).toEqual(['rolled back'])
  })

  it("can take a connection, since the transaction's was released before", async () => {
    await database.transaction(async (tx) => {
      await tx.execute('insert into t values (1)')
      tx.afterCommit(async () => {
        expect(database.stats().used).toBe(0)
        await database.transaction(() => database.execute('insert into t values (2)'))
      })
    })
    expect(await idsOf(database)).toEqual([1, 2])
  })

  it('of a savepoint runs after the outermost transaction', async () => {
    await database.transaction(async (outer) => {
      await outer.transaction(async (inner) => {
        inner.afterCommit(note('inner'))
        inner.afterRollback(note('never'))
      })
      outer.afterCommit(note('outer'))
      log.push('work')
    })
    expect(log).toEqual(['work', 'inner', 'outer'])
  })

  it('of a committed savepoint is an afterRollback when the outer transaction is rolled back', async () => {
    await undone(
      database.transaction(async (outer) => {
        await outer.transaction(async (inner) => {
          inner.afterCommit(note('never'))
          inner.afterRollback(note('inner'))
        })
        throw new Error('out')
      }),
    )
    expect(log).toEqual(['inner'])
  })

  it.each([true, false])(
    'of a rolled-back savepoint runs, whether the outer transaction commits: %s',
    async (commits) => {
      const outcome = database.transaction(async (outer) => {
        const failing = outer.transaction(async (middle) => {
          await middle.transaction(async (inner) => {
            inner.afterCommit(note('never'))
            inner.afterRollback(note('inner'))
          })
          throw new Error('in')
        })
        await expect(failing).rejects.toThrow('in')
        expect(log).toEqual([])
        if (!commits) throw new Error('out')
      })
      await (commits ? outcome : undone(outcome))
      expect(log).toEqual(['inner'])
    },
  )

  it('runs for handles too', async () => {
    const tx = await database.begin()
    tx.afterCommit(note('committed'))
    const inner = await tx.begin()
    inner.afterRollback(note('inner'))
    await inner.rollback()
    await tx.commit()
    expect(log.toSorted()).toEqual(['committed', 'inner'])
  })

  it('runs when the transaction is rolled back by forceRollback', async () => {
    await database.transaction(
      async (tx) => {
        tx.afterCommit(note('never'))
        tx.afterRollback(note('rolled back'))
      },
      { forceRollback: true },
    )
    expect(log).toEqual(['rolled back'])
  })

  it('is afterRollback when COMMIT fails', async () => {
    await database.execute(
      'create table child (id integer, t integer references t (id) deferrable initially deferred)',
    )
    await failure(
      database.transaction(async (tx) => {
        tx.afterCommit(note('never'))
        tx.afterRollback(note('rolled back'))
        await tx.execute('insert into child values (1, 99)')
      }),
    )
    expect(log).toEqual(['rolled back'])
    await context.admin('drop table child')
  })

  it('that fails after a commit makes the call reject, and the rows stay', async () => {
    const cause = new Error('no mail')
    const error = await failure(
      database.transaction(async (tx) => {
        await tx.execute('insert into t values (1)')
        tx.afterCommit(() => {
          throw cause
        })
      }),
    )
    expect(error).toBeInstanceOf(TransactionError)
    expect(error.cause).toBe(cause)
    expect(await idsOf(database)).toEqual([1])
    expect(database.stats().used).toBe(0)
  })

  it('that fails after a rollback does not hide the first error', async () => {
    const first = new Error('first')
    const error = await failure(
      database.transaction(async (tx) => {
        tx.afterRollback(() => {
          throw new Error('second')
        })
        throw first
      }),
    )
    expect(error).toBe(first)
  })

  if (context.dialect === 'postgresql') {
    it('runs once, for the successful attempt of a retried transaction', async () => {
      await database.execute('insert into t values (1)')
      let tries = 0
      await database.transaction(
        async (tx) => {
          tries += 1
          tx.afterCommit(note(`try ${tries}`))
          tx.afterRollback(note('never'))
          await tx.fetchVal('select count(*) from t')
          if (tries === 1) await tx.execute('do $$ begin raise serialization_failure; end $$')
        },
        { retries: 1 },
      )
      expect(log).toEqual(['try 2'])
    })
  }

  it('that fails does not keep the others from running', async () => {
    const log: number[] = []
    const failing = database.transaction(async (tx) => {
      tx.afterCommit(() => log.push(1))
      tx.afterCommit(() => Promise.reject(new Error('second')))
      tx.afterCommit(() => log.push(3))
    })
    expect((await failure(failing)).cause).toMatchObject({ message: 'second' })
    expect(log).toEqual([1, 3])
  })

  it('of a nested transaction can query the database after the outer one has failed', async () => {
    const found: unknown[] = []
    let inner: Promise<Error> | undefined
    const failing = database.transaction(async (outer) => {
      const slowly = outer.transaction(async (tx) => {
        tx.afterRollback(async () => {
          found.push(await database.fetchVal('select 1').catch((error: unknown) => String(error)))
        })
        await tx.fetchVal(slow)
      })
      inner = failure(slowly)
      await running(database, slow)
      throw new Error('branch')
    })
    await expect(failing).rejects.toThrow('branch')
    await inner
    expect(found).toEqual([1])
  })
})
