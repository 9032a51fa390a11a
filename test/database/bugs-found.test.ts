/** Bugs that were found from outside and are to be made right: each of these failed when it was written. */
import type { Client as Driver } from 'pg'
import type { Socket } from 'node:net'
import {
  CommitUnknownError,
  ConnectionError,
  type Database,
  TransactionClosedError,
  TransactionError,
} from '../../src/database'
import { eachDatabase } from '../support/each-database'
import { waitFor } from '../support/wait-for'
import { all, arrived, endless, failure, idsOf, numbers, runScript, running } from './support'

/** What the types of pg leave out. */
type Client = Driver & { readonly connection: { readonly stream: Socket } }

eachDatabase('found bugs of transactions', (context) => {
  const slow = endless(context.dialect)
  let database: Database

  beforeEach(async () => {
    database = await context.open({ pool: { size: 1, maxOverflow: 0, acquireTimeoutMillis: 1000 } })
    await database.execute('create table t (id integer primary key)')
  })
  afterEach(async () => {
    await context.admin('drop table t')
  })

  it('1: a handle whose connection went back neither commits nor rolls back the transaction of a stranger', async () => {
    for (const end of ['commit', 'rollback'] as const) {
      const connection = await database.acquire()
      const stale = await connection.begin()
      await connection.release()
      const stranger = database.transaction(async (tx) => {
        await tx.execute('insert into t values (1)')
        await Promise.allSettled([stale[end]()])
        await tx.execute('insert into t values (2)')
        throw new Error('stranger')
      })
      await expect(stranger).rejects.toThrow('stranger')
      expect(await idsOf(database)).toEqual([])
    }
  })

  it('1: a handle of a connection block that failed does not commit a stranger either', async () => {
    let stale: { commit(): Promise<void> } | undefined
    await failure(
      database.connection(async (connection) => {
        stale = await connection.begin()
        throw new Error('out')
      }),
    )
    expect(await failure(stale?.commit() ?? Promise.resolve())).toBeInstanceOf(TransactionClosedError)
  })

  it('2: the commit of the outer transaction inside of the inner one is refused at once', async () => {
    const committing = database.transaction(async (outer) => {
      await outer.transaction(() => outer.commit())
    })
    expect(await failure(committing)).toBeInstanceOf(TransactionError)
  })

  it('3: a handle that is left open in connection() is rolled back, and the connection goes back', async () => {
    const leaving = database.connection(async (connection) => {
      const tx = await connection.begin()
      await tx.execute('insert into t values (1)')
    })
    expect((await failure(leaving)).message).toMatch(/still open/)
    expect(await idsOf(database)).toEqual([])
  })

  it('5: the end of a transaction cannot be written as text inside of it', async () => {
    for (const text of ['COMMIT', 'ROLLBACK', 'end', ' /* c */ commit', 'BEGIN']) {
      await failure(
        database.transaction(async (tx) => {
          await tx.execute('insert into t values (1)')
          expect(await failure(tx.execute(text))).toBeInstanceOf(TransactionError)
          throw new Error('out')
        }),
      )
      expect(await idsOf(database)).toEqual([])
    }
  })

  it('10: a listener that throws changes nothing about a commit, and does not go unseen', async () => {
    const { stdout } = await runScript(`
      const { Database } = require('./src/database')
      const database = new Database(${JSON.stringify(context.url)})
      const log = []
      process.on('uncaughtException', ({ message }) => log.push(message))
      database.on('query', ({ sql }) => {
        if (sql === 'COMMIT') throw new Error('listener')
      })
      const work = async (tx) => {
        tx.afterCommit(() => log.push('committed'))
        tx.afterRollback(() => log.push('rolled back'))
        await tx.fetchVal('select 1')
      }
      void database.connect()
        .then(() => database.transaction(work))
        .then(() => database.disconnect())
        .then(() => process.stdout.write(log.toSorted().join()))`)
    expect(stdout).toBe('committed,listener')
  })

  it('17: one hook that fails does not keep the others from running', async () => {
    const log: number[] = []
    const failing = database.transaction(async (tx) => {
      tx.afterCommit(() => log.push(1))
      tx.afterCommit(() => Promise.reject(new Error('second')))
      tx.afterCommit(() => log.push(3))
    })
    expect((await failure(failing)).cause).toMatchObject({ message: 'second' })
    expect(log).toEqual([1, 3])
  })

  it('18: a transaction of Knex’s own works outside of ours', async () => {
    await database.knex.transaction(async (trx) => {
      await trx('t').insert({ id: 1 })
      await trx.transaction((inner) => inner('t').insert({ id: 2 }))
      await failure(
        trx.transaction((inner) =>
          inner('t')
            .insert({ id: 1 })
            .then(() => undefined),
        ),
      )
    })
    await failure(
      database.knex.transaction(async (trx) => {
        await trx('t').insert({ id: 3 })
        throw new Error('out')
      }),
    )
    await database.knex.batchInsert('t', [{ id: 4 }, { id: 5 }], 1)
    expect(await idsOf(database)).toEqual([1, 2, 4, 5])
    expect(database.stats().used).toBe(0)
  })

  it('18: Knex can drop a column, inside of a transaction and outside', async () => {
    const drop = (name: string): ReturnType<typeof database.knex.schema.alterTable> =>
      database.knex.schema.alterTable('t', (table) => {
        table.dropColumn(name)
      })
    for (const name of ['a', 'b', 'c', 'd']) await database.execute(`alter table t add column ${name} text`)
    await database.execute('insert into t (id) values (1)')
    await drop('a')
    await database.execute(drop('b'))
    await database.transaction(() => database.execute(drop('c')))
    await failure(
      database.transaction(async () => {
        await database.execute('insert into t (id) values (2)')
        await drop('d')
        throw new Error('out')
      }),
    )
    expect(await database.fetchAll('select * from t')).toEqual([{ id: 1, d: null }])
    const enforced = context.dialect === 'sqlite' ? 'pragma foreign_keys' : 'select 1'
    expect(await database.fetchVal(enforced)).toBe(1)
  })

  it('26: the time limit and the signal of a transaction end its statements', async () => {
    const started = performance.now()
    const late = database.transaction((tx) => tx.fetchVal(slow), { timeoutMillis: 60 })
    expect((await failure(late)).name).toBe('QueryTimeoutError')
    const controller = new AbortController()
    const aborted = failure(
      database.transaction((tx) => tx.transaction(() => all(database.iterate(slow))), {
        signal: controller.signal,
      }),
    )
    await arrived(context, database)
    controller.abort()
    expect((await aborted).name).toBe('QueryCanceledError')
    expect(performance.now() - started).toBeLessThan(10_000)
  })

  it('27: many queries under one signal warn of nothing', async () => {
    const warnings: string[] = []
    const onWarning = ({ message }: Error): number => warnings.push(message)
    process.on('warning', onWarning)
    const { signal } = new AbortController()
    await Promise.all(Array.from({ length: 30 }, () => database.fetchVal('select 1', {}, { signal })))
    await new Promise(setImmediate)
    process.off('warning', onWarning)
    expect(warnings).toEqual([])
  })

  it('28: work after the rollback of an inner transaction, whose outer one failed, can use the database', async () => {
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

  if (context.dialect === 'postgresql') {
    it('12: a connection that was lost before COMMIT leaves no doubt', async () => {
      for (const swallows of [false, true]) {
        const lost = database.transaction(async (tx) => {
          await tx.execute('insert into t values (1)')
          const raw = await database.connection(async (connection) => connection.raw as Client)
          const pid = await tx.fetchVal<number>('select pg_backend_pid()')
          await context.admin(`select pg_terminate_backend(${pid})`)
          if (swallows) await tx.fetchVal('select 1').catch(() => undefined)
          await waitFor(() => raw.connection.stream.closed)
        })
        const error = await failure(lost)
        expect(error).not.toBeInstanceOf(CommitUnknownError)
        expect(error).toBeInstanceOf(ConnectionError)
      }
      expect(await idsOf(database)).toEqual([])
    })
  }

  it('43: a cancel that arrives before its statement does is not lost, and hits nobody who comes after it', async () => {
    for (let round = 0; round < 100; round += 1) {
      const controller = new AbortController()
      // Sometimes it is over just when the cancel is on its way.
      const query =
        round % 2 === 0 ? slow : `select count(*) from (${numbers(context.dialect, round * 200)}) as s`
      const cancelled = Promise.allSettled([database.fetchVal(query, {}, { signal: controller.signal })])
      for (let turn = 0; turn < round % 6; turn += 1) await new Promise(setImmediate)
      controller.abort()
      const innocent = database.execute('insert into t values (:round)', { round })
      await Promise.all([cancelled, innocent])
    }
    expect(await idsOf(database)).toHaveLength(100)
    expect(database.stats()).toMatchObject({ used: 0, created: 1 })
  })
})
