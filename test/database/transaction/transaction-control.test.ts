/** COMMIT, ROLLBACK and BEGIN as SQL text: refused inside of a transaction, by every way to run text. */
import { BindError, type Database, TransactionError } from '../../../src/database'
import { all, failure, idsOf, undone } from '../support'
import { eachDatabase } from '../../support/each-database'

eachDatabase('COMMIT, ROLLBACK and BEGIN as SQL text', (context) => {
  let database: Database

  beforeEach(async () => {
    database = await context.open({ pool: { size: 1, maxOverflow: 0, acquireTimeoutMillis: 1000 } })
    await database.execute('create table t (id integer primary key)')
  })
  afterEach(async () => {
    await context.admin('drop table t')
  })

  it('are refused inside a transaction', async () => {
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
})

eachDatabase('COMMIT, ROLLBACK and BEGIN as SQL text', (context) => {
  let database: Database

  beforeEach(async () => {
    database = await context.open({ pool: { acquireTimeoutMillis: 500 } })
    await database.execute('create table t (id integer)')
  })
  afterEach(async () => {
    await context.admin('drop table t')
  })

  it('are refused after a rollback and a commit were called at the same time', async () => {
    await using connection = await database.acquire()
    const tx = await connection.begin()
    await Promise.allSettled([tx.rollback(), tx.commit()])
    await expect(connection.transaction((inner) => inner.execute('commit'))).rejects.toThrow(TransactionError)
  })
})

eachDatabase('a text that ends a transaction', (context) => {
  let database: Database

  beforeEach(async () => {
    database = await context.open({ pool: { size: 1, maxOverflow: 0 } })
    await database.execute('create table t (id integer primary key, name text)')
  })
  afterEach(async () => {
    await context.admin('drop table t')
  })

  it('is refused inside a transaction when it follows another statement', async () => {
    for (const end of ['commit', 'rollback', '/* so */ End', 'begin', 'savepoint x']) {
      await undone(
        database.transaction(async (tx) => {
          const error = await failure(Promise.resolve(database.knex.raw(`select 1; ${end}`)))
          expect(error).toBeInstanceOf(context.dialect === 'sqlite' ? BindError : TransactionError)
          await tx.execute("insert into t values (1, 'x')")
          throw new Error('out')
        }),
      )
    }
    expect(await idsOf(database)).toEqual([])
  })

  it('is refused as a stream', async () => {
    for (const end of ['commit', 'rollback', 'begin', 'savepoint x']) {
      await undone(
        database.transaction(async (tx) => {
          await tx.execute('insert into t (id) values (1)')
          for (const rows of [tx.iterate(end), database.iterate(end), database.knex.raw(end).stream()]) {
            const error = await failure(all(rows))
            expect(error).toBeInstanceOf(TransactionError)
            expect(error.message).toMatch(`'${end}' cannot be run inside a transaction`)
          }
          await tx.execute('insert into t (id) values (2)')
          throw new Error('out')
        }),
      )
    }
    expect(await idsOf(database)).toEqual([])
  })

  if (context.dialect === 'postgresql') {
    it('is PREPARE TRANSACTION, and not PREPARE of a statement', async () => {
      const value = await database.transaction(async (tx) => {
        await tx.execute('prepare one as select 1')
        return tx.fetchVal('execute one')
      })
      expect(value).toBe(1)
      const two = database.transaction((tx) => tx.execute("prepare transaction 'two'"))
      await expect(two).rejects.toThrow(TransactionError)
    })
  }
})
