/** knex.transaction(): alone, and as a savepoint inside a transaction of the Database. */
import type { Knex } from 'knex'
import {
  ConnectionError,
  type Database,
  ForeignKeyViolationError,
  QueryTimeoutError,
  TransactionClosedError,
  TransactionError,
} from '../../../src/database'
import { all, endless, failure, idsOf, numbers, undone } from '../support'
import { eachDatabase } from '../../support/each-database'

/** Makes two tables, by the steps of knex.migrate. */
const MIGRATIONS: Knex.MigrationSource<string> = {
  getMigrations: () => Promise.resolve(['one', 'two']),
  getMigrationName: (name) => name,
  getMigration: (name) =>
    Promise.resolve({
      up: (trx) => trx.schema.createTable(name, (table) => table.increments('id')),
      down: (trx) => trx.schema.dropTable(name),
    }),
}

eachDatabase('knex.transaction()', (context) => {
  let database: Database
  let knex: Knex
  const insert = async (on: Knex, id: number): Promise<unknown> => on('t').insert({ id })

  beforeEach(async () => {
    database = await context.open({ pool: { size: 2, maxOverflow: 0 }, statementTimeoutMillis: 5000 })
    knex = database.knex
    await database.execute('create table t (id integer primary key, name text)')
  })
  afterEach(async () => {
    await context.admin('drop table t')
  })

  describe('alone', () => {
    it('commits when its work resolves, and rolls back when it rejects', async () => {
      expect(await knex.transaction(async (trx) => [await insert(trx, 1), 'done'][1])).toBe('done')
      await undone(
        knex.transaction(async (trx) => {
          await insert(trx, 2)
          throw new Error('out')
        }),
      )
      const trx = await knex.transaction()
      expect(database.holders()).toMatchObject([{ inTransaction: true }])
      await insert(trx, 3)
      await trx.commit()
      expect(await idsOf(database)).toEqual([1, 3])
      expect(database.stats().used).toBe(0)
    })

    it('has savepoints, which include statements of the outer transaction', async () => {
      await knex.transaction(async (trx) => {
        await insert(trx, 1)
        await undone(
          trx.transaction(async (inner) => {
            await insert(inner, 2)
            await insert(trx, 3)
            throw new Error('out')
          }),
        )
        await trx.transaction(async (inner) => inner.transaction((innermost) => insert(innermost, 4)))
      })
      expect(await idsOf(database)).toEqual([1, 4])
    })

    it('runs one statement at a time, and waits for all of them before it ends', async () => {
      await knex.transaction(async (trx) => {
        await Promise.all([1, 2, 3, 4].map((id) => insert(trx, id)))
        expect(await trx('t').count({ n: '*' })).toHaveLength(1)
      })
      expect(await idsOf(database)).toEqual([1, 2, 3, 4])
    })

    it('streams while its other statements run', async () => {
      const seen: unknown[] = []
      await knex.transaction(async (trx) => {
        for await (const row of trx.raw(numbers(context.dialect, 3)).stream()) {
          const { n } = row as { n: number }
          seen.push(n)
          await insert(trx, n)
          if (n === 2) break
        }
        seen.push(...(await all(trx('t').orderBy('id').stream())))
      })
      expect(seen).toEqual([1, 2, { id: 1, name: null }, { id: 2, name: null }])
      expect(database.stats().used).toBe(0)
    })

    it('fails at the statement timeout', async () => {
      const impatient = await context.open({ statementTimeoutMillis: 100 })
      const work = impatient.knex.transaction(async (trx) => all(trx.raw(endless(context.dialect)).stream()))
      expect(await failure(work)).toBeInstanceOf(QueryTimeoutError)
      expect(impatient.stats().used).toBe(0)
    })

    it('refuses COMMIT as SQL text', async () => {
      const work = knex.transaction(async (trx) => trx.raw('commit'))
      expect(await failure(work)).toBeInstanceOf(TransactionError)
      expect(database.stats().used).toBe(0)
    })

    it('rejects when the server rolls back at COMMIT', async () => {
      if (context.dialect === 'sqlite') return
      const work = knex.transaction(async (trx) => {
        await insert(trx, 1)
        await Promise.resolve(trx.raw('select 1 / 0')).catch(() => undefined)
      })
      expect(await failure(work)).toBeInstanceOf(TransactionError)
      expect(await idsOf(database)).toEqual([])
    })

    it('rejects when commit() fails', async () => {
      await database.execute('create table later (t integer references t (id) deferrable initially deferred)')
      for (const begin of [() => knex.transaction(), knex.transactionProvider()]) {
        const trx = await begin()
        await trx('later').insert({ t: 99 })
        await expect(trx.commit()).rejects.toBeInstanceOf(ForeignKeyViolationError)
        await expect(trx.executionPromise).rejects.toBeInstanceOf(ForeignKeyViolationError)
      }
      expect(await database.fetchAll('select * from later')).toEqual([])
      await database.execute('drop table later')
      expect(database.stats().used).toBe(0)
    })

    it('does not run its work when BEGIN is refused', async () => {
      if (context.dialect === 'sqlite') return
      const work = jest.fn()
      // PostgreSQL has no level of that name, which Knex sends all the same.
      const config: Knex.TransactionConfig = { isolationLevel: 'snapshot' }
      await expect(knex.transaction(work, config)).rejects.toThrow(/isolation/i)
      await expect(knex.transaction(config)).rejects.toThrow(/isolation/i)
      expect(work).not.toHaveBeenCalled()
      expect(database.stats().used).toBe(0)
    })

    it('begins on another connection when its own was lost, and loses no connection when one is lost later', async () => {
      if (context.dialect === 'sqlite') return
      const killAll = (): Promise<unknown> =>
        context.admin(
          'select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()',
        )
      await killAll()
      await knex.transaction((trx) => insert(trx, 1))
      for (const use of [
        (trx: Knex) => insert(trx, 2),
        (trx: Knex) => all(trx.raw(numbers(context.dialect, 100_000)).stream()),
      ]) {
        const work = knex.transaction(async (trx) => {
          await insert(trx, 3)
          await killAll()
          await use(trx)
        })
        expect(await failure(work)).toBeInstanceOf(ConnectionError)
      }
      expect(await idsOf(database)).toEqual([1])
      expect(database.stats().used).toBe(0)
    })

    it('has the isolation level that it asks for', async () => {
      if (context.dialect === 'sqlite') return
      const levelOf = (config: Knex.TransactionConfig): Promise<unknown> =>
        knex.transaction(async (trx) => {
          const { rows } = await trx.raw<{ rows: unknown[] }>(
            "select current_setting('transaction_isolation') as isolation, current_setting('transaction_read_only') as only",
          )
          return rows[0]
        }, config)
      expect(await levelOf({ isolationLevel: 'serializable' })).toEqual({
        isolation: 'serializable',
        only: 'off',
      })
      expect(await levelOf({ readOnly: true })).toEqual({ isolation: 'read committed', only: 'on' })
    })

    it('nests, and rolls back alone what failed', async () => {
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
  })

  describe('inside a transaction of the Database', () => {
    type Around = (work: () => Promise<unknown>) => Promise<unknown>

    const places: readonly (readonly [string, (on: Database) => Around])[] = [
      ['transaction()', (on) => (work) => on.transaction(work)],
      ['a savepoint', (on) => (work) => on.transaction(() => on.transaction(work))],
      ['connection()', (on) => (work) => on.connection(work)],
      ['transactionOnDemand()', (on) => (work) => on.transactionOnDemand(work)],
      ['connectionOnDemand()', (on) => (work) => on.connectionOnDemand(work)],
    ]

    it.each(places)('is a savepoint in %s', async (_, place) => {
      await place(database)(async () => {
        expect(await knex.transaction((trx) => insert(trx, 1))).toBeDefined()
        await undone(
          knex.transaction(async (trx) => {
            await insert(trx, 2)
            throw new Error('out')
          }),
        )
        const trx = await knex.transaction()
        await insert(trx, 3)
        await trx.rollback()
        await knex.batchInsert('t', [{ id: 4 }, { id: 5, name: 'e' }], 1)
        expect(await idsOf(database)).toEqual([1, 4, 5])
        expect(database.stats().used).toBe(1)
      })
      expect(await idsOf(database)).toEqual([1, 4, 5])
      expect(database.stats().used).toBe(0)
    })

    it('is rolled back with the transaction around it', async () => {
      await undone(
        database.transaction(async () => {
          await knex.transaction((trx) => insert(trx, 1))
          await knex.batchInsert('t', [{ id: 2 }])
          throw new Error('out')
        }),
      )
      await database.forceRollback(async () => {
        await knex.transaction((trx) => insert(trx, 3))
        await knex.batchInsert('t', [{ id: 4 }])
        expect(await idsOf(database)).toEqual([3, 4])
      })
      expect(await idsOf(database)).toEqual([])
    })

    it('includes every query of its work', async () => {
      await database.transaction(async () => {
        await undone(
          knex.transaction(async (trx) => {
            await insert(knex, 1)
            await database.execute('insert into t (id) values (2)')
            await database.transaction(() => insert(knex, 3))
            await knex.transaction((inner) => insert(inner, 4))
            expect(await trx('t').orderBy('id').pluck('id')).toEqual([1, 2, 3, 4])
            throw new Error('out')
          }),
        )
        expect(await idsOf(database)).toEqual([])
      })
    })

    it('takes turns with its siblings', async () => {
      await database.transaction(async () => {
        await Promise.all([
          knex.transaction(async (trx) => {
            await insert(trx, 1)
            await insert(trx, 2)
          }),
          failure(
            knex.transaction(async (trx) => {
              await insert(trx, 3)
              throw new Error('out')
            }),
          ),
          insert(knex, 4),
          database.execute('insert into t (id) values (5)'),
        ])
      })
      expect(await idsOf(database)).toEqual([1, 2, 4, 5])
    })

    it('makes the outer transaction reject when it is still open at its end', async () => {
      let left: Knex.Transaction | undefined
      const around = database.transaction(async () => {
        left = await knex.transaction()
        await insert(left, 1)
      })
      expect((await failure(around)).message).toMatch(/still open/)
      expect(await failure(insert(left as Knex.Transaction, 2))).toBeInstanceOf(TransactionClosedError)
      expect(await idsOf(database)).toEqual([])
    })

    it('refuses an isolation level that the outer transaction does not have', async () => {
      const inner = (): Promise<unknown> =>
        knex.transaction((trx) => insert(trx, 1), { isolationLevel: 'serializable' })
      expect(await failure(database.transaction(inner))).toBeInstanceOf(TransactionError)
    })

    it('lets migrations run inside a forced rollback', async () => {
      await database.forceRollback(async () => {
        await knex.migrate.latest({ migrationSource: MIGRATIONS })
        expect(await knex.schema.hasTable('two')).toBe(true)
      })
      expect(await knex.schema.hasTable('two')).toBe(false)
      expect(await knex.schema.hasTable('knex_migrations')).toBe(false)
    })
  })
})
