/** Options of a transaction: isolation level, read-only, retries, forced rollback. */
import {
  ConfigurationError,
  Database,
  QueryError,
  SerializationError,
  TransactionError,
} from '../../../src/database'
import { failure, idsOf, undone } from '../support'
import { eachDatabase } from '../../support/each-database'

eachDatabase('a transaction with options', (context) => {
  let database: Database

  beforeEach(async () => {
    database = await context.open({ pool: { size: 2, maxOverflow: 0 } })
    await database.execute('create table t (id integer primary key)')
  })
  afterEach(async () => {
    await context.admin('drop table t')
  })
  const insert = (id: number): Promise<unknown> => database.execute('insert into t values (:id)', { id })
  const committed = async (): Promise<number> =>
    Number((await context.admin('select count(*) as n from t'))[0]?.['n'])

  if (context.dialect === 'postgresql') {
    it('rejects when the server answers COMMIT by ROLLBACK, because an error was swallowed', async () => {
      const error = await failure(
        database.transaction(async () => {
          await insert(1)
          await insert(1).catch(() => undefined)
        }),
      )
      expect(error).toBeInstanceOf(TransactionError)
      expect(error.message).toMatch(/rolled the transaction back/)
      expect(await committed()).toBe(0)
    })

    it('explains the error of a statement after a failed one', async () => {
      await undone(
        database.transaction(async () => {
          await failure(insert('x' as unknown as number))
          expect((await failure(insert(1))).message).toMatch(/aborted by an earlier error/)
          throw new Error('out')
        }),
      )
    })

    it('is retried as a whole after a serialization failure, up to retries times', async () => {
      await database.execute('create table counter (n integer)')
      await database.execute('insert into counter values (0)')
      const increment = (retries: number): Promise<unknown> =>
        database.transaction(
          async (tx) => {
            const n = (await tx.fetchVal<number>('select n from counter')) ?? 0
            await tx.execute('update counter set n = :n', { n: n + 1 })
          },
          { isolation: 'serializable', retries },
        )
      await Promise.all(Array.from({ length: 8 }, () => increment(100)))
      expect(await database.fetchVal('select n from counter')).toBe(8)

      const outcomes = await Promise.allSettled(Array.from({ length: 8 }, () => increment(0)))
      const errors = outcomes.flatMap((one) => (one.status === 'rejected' ? [one.reason as unknown] : []))
      for (const error of errors) expect(error).toBeInstanceOf(SerializationError)
      expect(await database.fetchVal('select n from counter')).toBe(16 - errors.length)
    })

    it('that is serializable does not see what others commit meanwhile', async () => {
      await database.transaction(
        async () => {
          expect(await idsOf(database)).toEqual([])
          await database.detached(() => insert(1))
          expect(await committed()).toBe(1)
          expect(await idsOf(database)).toEqual([])
        },
        { isolation: 'serializable' },
      )
      expect(await idsOf(database)).toEqual([1])
    })
  }

  it('is not retried after any other error', async () => {
    let runs = 0
    const failing = database.transaction(
      async () => {
        runs += 1
        await database.execute('select nothing from nowhere')
      },
      { retries: 5 },
    )
    await expect(failing).rejects.toThrow(QueryError)
    expect(runs).toBe(1)
  })

  it('accepts only true and false for readOnly, deferrable and forceRollback', async () => {
    for (const name of ['readOnly', 'deferrable', 'forceRollback']) {
      for (const value of ['false', 'yes', 1, null]) {
        const error = await failure(database.transaction(() => Promise.resolve(), { [name]: value }))
        expect(error).toBeInstanceOf(ConfigurationError)
        expect(error.message).toMatch(`${name} is true or false, got`)
      }
      await database.transaction(() => database.fetchVal('select 1'), { [name]: false })
    }
    expect(() => new Database(context.url, { forceRollback: 'false' as never })).toThrow(ConfigurationError)
  })

  it('accepts the four isolation levels, and names them for any other', async () => {
    for (const isolation of [
      'read uncommitted',
      'read committed',
      'repeatable read',
      'serializable',
    ] as const) {
      await database.transaction(() => database.fetchVal('select 1'), { isolation })
    }
    const show = context.dialect === 'postgresql' ? 'show transaction_isolation' : "select 'repeatable read'"
    const shown = await database.transaction(() => database.fetchVal(show), { isolation: 'repeatable read' })
    expect(shown).toBe('repeatable read')
    const snapshot = { isolation: 'snapshot' as 'serializable' } // as from JavaScript
    await expect(database.transaction(async () => 1, snapshot)).rejects.toThrow(/read committed.*'snapshot'/)
    await expect(database.transaction(async () => 1, { retries: -1 })).rejects.toThrow(ConfigurationError)
    await expect(database.transaction(async () => 1, { retry: 1 } as object)).rejects.toThrow(
      /'retry'.*retries/,
    )
    expect(database.stats().used).toBe(0)
  })

  it('refuses writes when it is read-only, and its connection can write afterwards', async () => {
    await expect(database.transaction(() => insert(1), { readOnly: true })).rejects.toThrow(QueryError)
    await Promise.all([insert(2), insert(3)])
    expect(await database.transaction(() => idsOf(database), { readOnly: true })).toEqual([2, 3])
    await insert(4)
  })

  it('leaves a read-only connection read-only', async () => {
    const readOnly =
      context.dialect === 'sqlite' ? 'pragma query_only = on' : 'set default_transaction_read_only = on'
    const reader = await context.open({
      pool: { size: 1, maxOverflow: 0 },
      afterConnect: async (connection) => {
        await connection.execute(readOnly)
      },
    })
    await reader.connection(async (connection) => {
      for (const options of [{ readOnly: true }, {}]) {
        await connection.transaction((tx) => tx.fetchVal('select count(*) from t'), options)
        await expect(connection.execute('insert into t values (1)')).rejects.toThrow(QueryError)
      }
    })
    expect(await committed()).toBe(0)
  })

  if (context.dialect === 'sqlite') {
    it('restores PRAGMA query_only as it was', async () => {
      await database.connection(async (connection) => {
        await connection.execute('pragma query_only = on')
        await connection.transaction((tx) => tx.fetchVal('select count(*) from t'), { readOnly: true })
        await expect(connection.execute('insert into t values (1)')).rejects.toThrow(QueryError)
        await connection.execute('pragma query_only = off')
        await connection.execute('insert into t values (2)')
      })
      expect(await idsOf(database)).toEqual([2])
    })
  }

  it('is rolled back by forceRollback though it succeeds', async () => {
    const result = await database.transaction(
      async () => {
        await insert(1)
        return idsOf(database)
      },
      { forceRollback: true },
    )
    expect(result).toEqual([1])
    expect(await committed()).toBe(0)
  })
})
