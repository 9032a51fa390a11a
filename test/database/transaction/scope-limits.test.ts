/** A scope is aborted, or its deadline is over, while a transaction, connection or stream is open in it. */
import { setTimeout as sleep } from 'node:timers/promises'
import { type Connection, type Database, runInScope } from '../../../src/database'
import { eachDatabase } from '../../support/each-database'
import { waitFor } from '../../support/wait-for'
import { endless, failure, gate, idsOf, running } from '../support'

eachDatabase('a scope that is aborted or past its deadline', (context) => {
  let database: Database
  /** Cleanup events of connections that were released dirty. */
  let cleanups: string[]

  beforeEach(async () => {
    database = await context.open({ pool: { size: 2, maxOverflow: 0, acquireTimeoutMillis: 5000 } })
    await database.execute('create table t (id integer)')
    await database.execute('insert into t values (1)')
    cleanups = []
    database.on('cleanup', ({ what }) => cleanups.push(what))
  })
  afterEach(() => database.execute('drop table t'))

  const change = (on: Pick<Database, 'execute'> = database): Promise<unknown> =>
    on.execute('update t set id = id + 10')

  /** Ways to hold a row and then hang; each then makes one more call, which rejects. */
  const ways: Record<string, (hang: () => Promise<void>) => Promise<unknown>> = {
    'transaction(work)': (hang) =>
      database.transaction(async () => {
        await change()
        await hang()
      }),
    'a transaction whose work asks more': (hang) =>
      database.transaction(async () => {
        await change()
        await hang()
        await change()
      }),
    'a savepoint': (hang) =>
      database.transaction(async (tx) => {
        await tx.transaction(async () => {
          await change()
          await hang()
        })
      }),
    transactional: (hang) =>
      database.transactional(async () => {
        await change()
        await hang()
      })(),
    'begin()': async (hang) => {
      const tx = await database.begin()
      await change(tx)
      await hang()
      expect(tx.state).toBe('rolled back')
      await tx.commit()
    },
    'acquire()': async (hang) => {
      const connection = await database.acquire()
      const tx = await connection.begin()
      await change(tx)
      await hang()
      await connection.fetchVal('select 1')
    },
    'connection(work)': (hang) =>
      database.connection(async (connection) => {
        const tx = await connection.begin()
        await change(tx)
        await hang()
        await tx.commit()
      }),
    transactionOnDemand: (hang) =>
      database.transactionOnDemand(async () => {
        await change()
        await hang()
      }),
    connectionOnDemand: (hang) =>
      database.connectionOnDemand(async () => {
        const tx = await database.begin()
        await change(tx)
        await hang()
        await tx.commit()
      }),
    'knex.transaction(work)': (hang) =>
      database.knex.transaction(async (trx) => {
        await trx('t').increment('id', 10)
        await hang()
        await trx('t').increment('id', 10)
      }),
    'knex.transaction()': async (hang) => {
      const trx = await database.knex.transaction()
      await trx('t').increment('id', 10)
      await hang()
      await trx.commit()
    },
    'iterate() in a transaction': (hang) =>
      database.transaction(async () => {
        await change()
        for await (const row of database.iterate('select id from t')) {
          expect(row).toEqual({ id: 11 })
          await hang()
        }
      }),
  }

  describe.each(Object.entries(ways))('releases at once the connection that is held by %s', (_name, hold) => {
    it.each(['its signal', 'its deadline'])('after %s', async (kind) => {
      const held = gate()
      const goOn = gate()
      const controller = new AbortController()
      const scope =
        kind === 'its signal' ? { signal: controller.signal } : { deadline: performance.now() + 150 }
      const failed = failure(
        runInScope(scope, () =>
          hold(async () => {
            held.open()
            await goOn.opened
          }),
        ),
      )
      await held.opened
      expect(database.stats().used).toBe(1)
      controller.abort()
      await waitFor(() => database.stats().used === 0, { what: 'the connection to be released' })
      expect(database.holders()).toEqual([])
      // No change and no lock of it is left.
      await database.execute('update t set id = id + 1', {}, { timeoutMillis: 2000 })
      expect(await idsOf(database)).toEqual([2])
      goOn.open()
      expect(await failed).toMatchObject({ code: kind === 'its signal' ? 'QUERY_CANCELED' : 'QUERY_TIMEOUT' })
      expect(await idsOf(database)).toEqual([2])
      expect(cleanups).toEqual([])
    })
  })

  it('rolls back a transaction whose own signal is aborted or whose time limit is over', async () => {
    const controller = new AbortController()
    for (const options of [{ timeoutMillis: 100 }, { signal: controller.signal }]) {
      const held = gate()
      const goOn = gate()
      const work = async (): Promise<void> => {
        await change()
        held.open()
        await goOn.opened
      }
      const failed = failure(database.transaction(work, options))
      await held.opened
      if ('signal' in options) controller.abort(new Error('The order was withdrawn.'))
      await waitFor(() => database.stats().used === 0, { what: 'the connection to be released' })
      expect(await idsOf(database)).toEqual([1])
      goOn.open()
      expect((await failed).message).toMatch(
        'signal' in options
          ? /its signal was aborted\. The order was withdrawn\./
          : /timeoutMillis of 100 ms/,
      )
    }
  })

  it('rejects the running statement with its own error, and releases the connection', async () => {
    const controller = new AbortController()
    const statement = endless(context.dialect)
    const failed = failure(
      runInScope({ signal: controller.signal }, () =>
        database.transaction(async (tx) => {
          await tx.fetchVal(statement)
        }),
      ),
    )
    await running(database, statement)
    controller.abort()
    expect(await failed).toMatchObject({ code: 'QUERY_CANCELED', sql: statement })
    expect(database.stats().used).toBe(0)
    const late = await failure(
      runInScope({ deadline: performance.now() + 100 }, () =>
        database.transaction((tx) => tx.fetchVal(statement)),
      ),
    )
    expect(late).toMatchObject({ code: 'QUERY_TIMEOUT', sql: statement })
    expect(database.stats().used).toBe(0)
  })

  it('rolls back a savepoint with narrower limits, and the transaction around it goes on', async () => {
    const inner = gate()
    const goOn = gate()
    let told: Error | undefined
    await database.transaction(async (tx) => {
      await tx.execute('insert into t values (2)')
      const savepoint = tx.transaction(
        async (nested) => {
          await nested.execute('insert into t values (3)')
          inner.open()
          await goOn.opened
          await nested.execute('insert into t values (4)')
        },
        { timeoutMillis: 100 },
      )
      const failed = failure(savepoint)
      await inner.opened
      // It waits for the savepoint to end.
      await tx.execute('insert into t values (5)')
      goOn.open()
      told = await failed
    })
    expect(told).toMatchObject({ code: 'QUERY_TIMEOUT' })
    expect(await idsOf(database)).toEqual([1, 2, 5])
  })

  it('rolls back a transaction on a connection from outside, which stays usable', async () => {
    const connection: Connection = await database.acquire()
    const controller = new AbortController()
    const held = gate()
    const goOn = gate()
    const failed = failure(
      runInScope({ signal: controller.signal }, () =>
        connection.transaction(async (tx) => {
          await change(tx)
          held.open()
          await goOn.opened
        }),
      ),
    )
    await held.opened
    controller.abort()
    await database.execute('update t set id = id + 1', {}, { timeoutMillis: 2000 })
    expect(await connection.fetchVal('select id from t')).toBe(2)
    goOn.open()
    expect(await failed).toMatchObject({ code: 'QUERY_CANCELED' })
    await connection.release()
  })

  it('rolls back only its own transaction in a forced rollback', async () => {
    await database.forceRollback(async () => {
      const controller = new AbortController()
      const goOn = gate()
      const held = gate()
      const failed = failure(
        runInScope({ signal: controller.signal }, () =>
          database.transaction(async () => {
            await change()
            held.open()
            await goOn.opened
          }),
        ),
      )
      await held.opened
      controller.abort()
      await database.execute('update t set id = id + 1')
      expect(await idsOf(database)).toEqual([2])
      goOn.open()
      expect(await failed).toMatchObject({ code: 'QUERY_CANCELED' })
    })
    expect(await idsOf(database)).toEqual([1])
  })

  it('runs afterRollback hooks', async () => {
    const controller = new AbortController()
    const followed: string[] = []
    await runInScope({ signal: controller.signal }, async () => {
      const tx = await database.begin()
      tx.afterRollback(() => followed.push('handle'))
      controller.abort()
      await waitFor(() => database.stats().used === 0)
      await tx.rollback()
      expect(followed).toEqual(['handle'])
    })
    const work = database.transaction(
      async (tx) => {
        tx.afterRollback(() => followed.push('work'))
        tx.afterCommit(() => followed.push('commit'))
        await waitFor(() => database.stats().used === 0)
      },
      { timeoutMillis: 50 },
    )
    expect(await failure(work)).toMatchObject({ code: 'QUERY_TIMEOUT' })
    expect(followed).toEqual(['handle', 'work'])
  })

  it('does not end detached work, nor transactions that ended before', async () => {
    const controller = new AbortController()
    const detached = await runInScope({ signal: controller.signal }, async () => {
      await database.transaction(() => change())
      return database.detached(() => database.begin())
    })
    controller.abort()
    await sleep(20)
    await change(detached)
    await detached.commit()
    expect(await idsOf(database)).toEqual([21])
  })

  if (context.dialect === 'postgresql') {
    it('does not cancel a COMMIT that is running', async () => {
      await database.execute(
        'create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(0.3); return null; end $$',
      )
      await database.execute(
        'create constraint trigger slow after insert on t deferrable initially deferred for each row execute function slow()',
      )
      const controller = new AbortController()
      const done = database.transaction((tx) => tx.execute('insert into t values (2)'), {
        signal: controller.signal,
      })
      await running(database, 'COMMIT')
      controller.abort()
      await done
      expect(await idsOf(database)).toEqual([1, 2])
      expect(database.stats().used).toBe(0)
      await database.execute('drop function slow cascade')
    })
  }
})
