/** Failures that were reproduced in the Python library `databases`, in its transactions: none of them is here. */
import {
  type Connection,
  type Database,
  QueryCanceledError,
  runInScope,
  TransactionError,
} from '../../../src/database'
import { eachDatabase } from '../../support/each-database'
import { endless, failure, idsOf, running } from '../support'

eachDatabase('what went wrong in transactions of databases', (context) => {
  let database: Database

  beforeEach(async () => {
    database = await context.open({ pool: { size: 5, maxOverflow: 0, acquireTimeoutMillis: 2000 } })
    await database.execute('create table t (id integer primary key)')
  })
  afterEach(async () => {
    await context.admin('drop table t')
  })
  const insert = (id: number): Promise<unknown> => database.execute('insert into t values (:id)', { id })
  /** Every connection can be had, and writes. */
  const isFit = async (): Promise<void> => {
    const held = await Promise.all([1, 2, 3, 4, 5].map(() => database.acquire()))
    for (const connection of held) await connection.release()
    await database.transaction(() => database.fetchVal('select 1'))
    expect(database.stats()).toMatchObject({ used: 0, waiting: 0 })
  }

  it('a COMMIT that fails does not cost a connection, however often it fails', async () => {
    await database.execute(
      'create table child (id integer, t integer references t (id) deferrable initially deferred)',
    )
    for (let round = 0; round < 12; round += 1) {
      const failing = database.transaction(() => database.execute('insert into child values (1, 99)'))
      await expect(failing).rejects.toThrow(/referred to/)
    }
    await isFit()
    await database.execute('drop table child')
  })

  it('a BEGIN that fails does not cost a connection, however often it fails', async () => {
    for (let round = 0; round < 12; round += 1) {
      await failure(database.transaction(async () => 1, { signal: AbortSignal.abort() }))
      const nested = database.transaction((tx) =>
        tx.transaction(async () => 1, { isolation: 'serializable' }),
      )
      expect(await failure(nested)).toBeInstanceOf(TransactionError)
    }
    await isFit()
  })

  it('an abort while the rollback of an earlier one runs leaves no transaction and no connection behind', async () => {
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
    await isFit()
  })

  it('a handle that was begun and ended twice cannot corrupt what comes after it', async () => {
    for (let round = 0; round < 3; round += 1) {
      const tx = await database.begin()
      await tx.execute('insert into t values (:round)', { round })
      await tx.commit()
      await failure(tx.commit())
      await failure(tx.begin())
    }
    expect(await idsOf(database)).toEqual([0, 1, 2])
    await isFit()
  })

  it('twenty transactions that each run two queries at once share five connections', async () => {
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
    await isFit()
  })

  it('a query under a time limit runs in the transaction all the same', async () => {
    const failing = database.transaction(async () => {
      await database.execute('insert into t values (1)', {}, { timeoutMillis: 60_000 })
      expect(await database.fetchVal('select id from t', {}, { timeoutMillis: 60_000 })).toBe(1)
      throw new Error('out')
    })
    await expect(failing).rejects.toThrow('out')
    expect(await idsOf(database)).toEqual([])
  })

  it('two transactions on one connection take turns', async () => {
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
    await isFit()
  })

  it('transactions that read and then write, beside each other, all succeed and lose nothing', async () => {
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

  it('disconnect() called by the holder of a transaction comes back, with its work done', async () => {
    let ending: Promise<void> | undefined
    await database.transaction(async () => {
      await insert(1)
      ending = database.disconnect()
    })
    await ending
    expect(await context.admin('select id from t')).toEqual([{ id: 1 }])
  })
})
