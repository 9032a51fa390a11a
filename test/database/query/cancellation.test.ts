/** Cancellation by signal, by time limit and by scope, of queries that wait, run or stream; no other query is cancelled. */
import { type Database, QueryCanceledError, QueryTimeoutError, runInScope } from '../../../src/database'
import { all, arrived, endless, failure, idsOf, numbers } from '../support'
import { eachDatabase } from '../../support/each-database'
import { waitFor } from '../../support/wait-for'

eachDatabase('a cancelled query', (context) => {
  const slow = endless(context.dialect)
  let database: Database

  beforeEach(async () => {
    database = await context.open({ pool: { size: 1, maxOverflow: 0 } })
    await database.execute('create table t (id integer primary key)')
  })
  afterEach(async () => {
    await context.admin('drop table t')
  })
  /** Expects that the connection can be acquired, and that the cancelled statement no longer runs on the server. */
  const expectUsable = async (): Promise<void> => {
    expect(await database.fetchVal('select 1')).toBe(1)
    expect(database.stats()).toMatchObject({ used: 0, waiting: 0, created: 1 })
    if (context.dialect === 'postgresql') {
      expect(
        await context.admin(
          "select pid from pg_stat_activity where datname = current_database() and query = 'select pg_sleep(600)' and state = 'active'",
        ),
      ).toEqual([])
    }
  }

  describe('by its signal', () => {
    it('is not sent when the signal is aborted already', async () => {
      const error = await failure(
        database.execute('insert into t values (1)', {}, { signal: AbortSignal.abort('why') }),
      )
      expect(error).toBeInstanceOf(QueryCanceledError)
      expect(error).toMatchObject({ code: 'QUERY_CANCELED', cause: 'why', sql: 'insert into t values (1)' })
      expect(await idsOf(database)).toEqual([])
    })

    it('leaves the acquire queue', async () => {
      const connection = await database.acquire()
      const controller = new AbortController()
      const waiting = failure(database.fetchVal('select 1', {}, { signal: controller.signal }))
      await waitFor(() => database.stats().waiting === 1)
      controller.abort()
      expect(await waiting).toBeInstanceOf(QueryCanceledError)
      expect(database.stats()).toMatchObject({ used: 1, waiting: 0 })
      await connection.release()
      await expectUsable()
    })

    it('leaves the queue of its connection, and later statements keep their places', async () => {
      const controller = new AbortController()
      await database.connection(async (connection) => {
        const first = failure(connection.fetchVal(slow, {}, { timeoutMillis: 100 }))
        const waiting = failure(
          connection.execute('insert into t values (1)', {}, { signal: controller.signal }),
        )
        const last = connection.execute('insert into t values (2)')
        controller.abort()
        expect(await waiting).toBeInstanceOf(QueryCanceledError)
        await Promise.all([first, last])
      })
      expect(await idsOf(database)).toEqual([2])
    })

    it('is cancelled while it runs', async () => {
      const controller = new AbortController()
      const stopped = failure(database.fetchVal(slow, {}, { signal: controller.signal }))
      await arrived(context, database)
      controller.abort()
      expect(await stopped).toBeInstanceOf(QueryCanceledError)
      await expectUsable()
    })

    it('is cancelled when it is an awaited Knex builder', async () => {
      const controller = new AbortController()
      const stopped = runInScope({ signal: controller.signal }, () =>
        failure(Promise.resolve(database.knex.raw(slow))),
      )
      await arrived(context, database)
      controller.abort()
      expect(await stopped).toBeInstanceOf(QueryCanceledError)
      await expectUsable()
    })

    it('is cancelled in a transaction, which is rolled back', async () => {
      const controller = new AbortController()
      const stopped = failure(
        database.transaction(async (tx) => {
          await tx.execute('insert into t values (1)')
          await tx.fetchVal(slow, {}, { signal: controller.signal })
        }),
      )
      await arrived(context, database)
      controller.abort()
      expect(await stopped).toBeInstanceOf(QueryCanceledError)
      expect(await idsOf(database)).toEqual([])
      await expectUsable()
    })

    it('does not end the transaction around the savepoint that it ran in', async () => {
      await database.transaction(async (tx) => {
        await tx.execute('insert into t values (1)')
        const inner = tx.transaction((savepoint) => savepoint.fetchVal(slow, {}, { timeoutMillis: 30 }))
        expect(await failure(inner)).toBeInstanceOf(QueryTimeoutError)
        await tx.execute('insert into t values (2)')
      })
      expect(await idsOf(database)).toEqual([1, 2])
    })

    it('stores nothing when it is an executeMany()', async () => {
      const controller = new AbortController()
      const endlessly = function* (): Generator<{ id: number }> {
        for (let id = 0; ; id += 1) {
          if (id === 500) controller.abort()
          yield { id }
        }
      }
      for (const query of ['insert into t values (:id)', database.table('t')]) {
        const stopped = failure(database.executeMany(query, endlessly(), { signal: controller.signal }))
        expect(await stopped).toBeInstanceOf(QueryCanceledError)
      }
      expect(await idsOf(database)).toEqual([])
      await expectUsable()
    })
  })

  describe('by a time limit', () => {
    it('of its own names the limit in the error', async () => {
      const error = await failure(database.fetchVal(slow, {}, { timeoutMillis: 40 }))
      expect(error).toBeInstanceOf(QueryTimeoutError)
      expect(error).toMatchObject({ code: 'QUERY_TIMEOUT', sql: slow })
      expect(error.message).toContain('40 ms')
      await expectUsable()
    })

    it('of its own includes the wait for a connection', async () => {
      const connection = await database.acquire()
      const error = await failure(database.fetchVal('select 1', {}, { timeoutMillis: 20 }))
      expect(error).toBeInstanceOf(QueryTimeoutError)
      await connection.release()
      await expectUsable()
    })

    it('of its scope is rejected with QueryTimeoutError', async () => {
      const scope = { deadline: performance.now() + 40 }
      const error = await runInScope(scope, () => failure(database.fetchVal(slow)))
      expect(error).toBeInstanceOf(QueryTimeoutError)
      expect(error.message).toContain('deadline of its scope')
      await expect(runInScope(scope, () => database.fetchVal('select 1'))).rejects.toThrow(QueryTimeoutError)
      expect(await runInScope(scope, () => database.detached(() => database.fetchVal('select 1')))).toBe(1)
      await expectUsable()
    })

    it('of its scope keeps a late transaction from committing', async () => {
      const controller = new AbortController()
      const late = runInScope({ signal: controller.signal }, () =>
        failure(
          database.transaction(async (tx) => {
            await tx.execute('insert into t values (1)')
            controller.abort()
          }),
        ),
      )
      expect(await late).toBeInstanceOf(QueryCanceledError)
      expect(await idsOf(database)).toEqual([])
    })

    it('of every statement is rejected with QueryTimeoutError, and 0 turns that limit off', async () => {
      const strict = await context.open({ statementTimeoutMillis: 40 })
      const error = await failure(strict.fetchVal(slow))
      expect(error).toBeInstanceOf(QueryTimeoutError)
      expect(error.message).toContain('statement timeout of 40 ms')
      expect(await failure(all(strict.iterate(slow)))).toBeInstanceOf(QueryTimeoutError)
      const controller = new AbortController()
      const patient = await context.open({ statementTimeoutMillis: 0 })
      const stopped = failure(patient.fetchVal(slow, {}, { signal: controller.signal }))
      await arrived(context, patient)
      controller.abort()
      expect(await stopped).toBeInstanceOf(QueryCanceledError)
    })

    it('ends a stream that is being read', async () => {
      const rows = `select n from (${numbers(context.dialect, 2_000_000)}) as s`
      const slowly = async (): Promise<void> => {
        for await (const _ of database.iterate(rows, {}, { timeoutMillis: 60, batchSize: 1 })) {
          await new Promise(setImmediate)
        }
      }
      expect(await failure(slowly())).toBeInstanceOf(QueryTimeoutError)
      await expectUsable()
    })
  })

  it('does not cancel the statement that follows on the connection, in a hundred rounds', async () => {
    for (let round = 0; round < 100; round += 1) {
      const controller = new AbortController()
      const cancelled = failure(database.fetchVal(slow, {}, { signal: controller.signal }))
      await arrived(context, database)
      controller.abort()
      const innocent = database.execute('insert into t values (:round)', { round })
      expect(await cancelled).toBeInstanceOf(QueryCanceledError)
      await innocent
    }
    expect(await idsOf(database)).toHaveLength(100)
    await expectUsable()
  })

  it('does not let later writes of its transaction run outside of it', async () => {
    const endlessInsert = `insert into t ${slow.replace('count(*)', 'n')}`
    const slowInsert =
      context.dialect === 'sqlite' ? endlessInsert : 'insert into t select 1 from pg_sleep(600)'
    const failing = database.transaction(async (tx) => {
      await tx.execute('insert into t values (-1)')
      await tx.execute(slowInsert, {}, { timeoutMillis: 50 }).catch(() => undefined)
      await tx.execute('insert into t values (-2)').catch(() => undefined)
    })
    await failure(failing)
    expect(await idsOf(database)).toEqual([])
    await expectUsable()
  })

  describe('by the end of what it ran in', () => {
    const told = (what: string): object => ({
      code: 'QUERY_CANCELED',
      message: `The query was cancelled: ${what}.`,
      sql: slow,
    })

    it('is rejected because its transaction was rolled back', async () => {
      let sibling: Promise<Error> | undefined
      await failure(
        database.transaction(async (tx) => {
          sibling = failure(tx.fetchVal(slow))
          await arrived(context, database)
          throw new Error('out')
        }),
      )
      expect(await sibling).toMatchObject(told('its transaction was rolled back'))
      await expectUsable()
    })

    it('is rejected because its connection was released', async () => {
      const connection = await database.acquire()
      const statement = failure(connection.fetchVal(slow))
      await arrived(context, database)
      await connection.release()
      expect(await statement).toMatchObject(told('its connection was given back'))
      await expectUsable()
    })
  })

  it('adds no warning about too many listeners when thirty share one signal', async () => {
    const warnings: string[] = []
    const onWarning = ({ message }: Error): number => warnings.push(message)
    process.on('warning', onWarning)
    const { signal } = new AbortController()
    await Promise.all(Array.from({ length: 30 }, () => database.fetchVal('select 1', {}, { signal })))
    await new Promise(setImmediate)
    process.off('warning', onWarning)
    expect(warnings).toEqual([])
  })

  it('is cancelled though the signal is aborted before it is sent, and later statements are not', async () => {
    for (let round = 0; round < 100; round += 1) {
      const controller = new AbortController()
      // Some end while the cancel request is on its way.
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
