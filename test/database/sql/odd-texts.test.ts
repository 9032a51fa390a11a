/** Texts at the edges: several statements in one, names that are not English, a NUL, what builders cannot say. */
import {
  BindError,
  ConfigurationError,
  type Database,
  QueryError,
  TransactionError,
  UniqueViolationError,
} from '../../../src/database'
import { eachDatabase } from '../../support/each-database'
import { all, failure, idsOf, undone } from '../support'

eachDatabase('a text of several statements', (context) => {
  let database: Database

  beforeEach(async () => {
    database = await context.open({ pool: { size: 1, maxOverflow: 0 } })
    await database.execute('create table t (id integer primary key, name text)')
  })
  afterEach(async () => {
    await context.admin('drop table t')
  })

  it('cannot end the transaction that it is run in', async () => {
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

  it('cannot end it as a stream either, nor can a text of one statement', async () => {
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

  it('is never run in part', async () => {
    const text = "insert into t values (1, 'a'); insert into t values (2, 'b')"
    const ways = [
      () => Promise.resolve(database.knex.raw(text)),
      () => database.execute(database.knex.raw(text)),
      () => database.fetchAll(database.knex.raw(text)),
      () => all(database.iterate(database.knex.raw(text))),
      () => all(database.knex.raw(text).stream()),
    ]
    const refusing = context.dialect === 'sqlite' ? ways : ways.slice(3)
    for (const way of refusing) {
      const error = await failure(Promise.resolve().then(way))
      expect(error).toBeInstanceOf(BindError)
      expect(error.message).toMatch(/more than one statement/)
      expect(await idsOf(database)).toEqual([])
    }
    for (const way of ways.slice(0, ways.length - refusing.length)) {
      await way()
      expect(await idsOf(database)).toEqual([1, 2])
      await database.execute('delete from t')
    }
  })

  if (context.dialect === 'postgresql') {
    it('leaves nothing on the connection for the next user', async () => {
      await database.knex.raw("select 1; set application_name to 'left behind'")
      expect(await database.fetchVal('show application_name')).toBe('millpond')
    })

    it('is not what PREPARE of a statement is: that may be run in a transaction', async () => {
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

eachDatabase('a text', (context) => {
  it('takes names of any alphabet', async () => {
    const database = await context.open()
    const values = { größe: 1, имя: 2, 値: 3, é: 4 }
    const query =
      'select cast(:größe as integer) + cast(:имя as integer) + cast(:値 as integer) + cast(:e\u0301 as integer)'
    expect(await database.fetchVal(query, values)).toBe(10)
  })

  it('with a NUL is refused, since the databases would read on behind it or not', async () => {
    const database = await context.open()
    for (const text of ['select 1 \0', "select 'a\0b'", 'select 1 \0 + 2']) {
      const error = await failure(database.fetchAll(text))
      expect(error).toBeInstanceOf(QueryError)
      expect(error.message).toMatch(/NUL/)
    }
  })

  it('that Knex cannot make of its builder says so by an error of ours', async () => {
    const database = await context.open()
    const unfinished = [
      database.table('t').where('id', undefined as never),
      database.knex.raw('select ?, ?', [1]),
    ]
    for (const builder of unfinished) {
      for (const way of [
        () => database.fetchAll(builder as never),
        () => database.execute(builder as never),
        async () => all(database.iterate(builder as never)),
      ]) {
        const error = await failure(way())
        expect(error).toBeInstanceOf(BindError)
        expect(error.message).toMatch(/undefined|Expected 1 bindings/i)
      }
    }
  })
})

eachDatabase('executeMany', (context) => {
  let database: Database

  beforeEach(async () => {
    database = await context.open({ pool: { size: 1, maxOverflow: 0 } })
    await database.execute('create table t (id integer primary key)')
  })
  afterEach(async () => {
    await context.admin('drop table t')
  })

  it('refuses a builder that is more than a table, and would insert whatever it says', async () => {
    await database.execute('insert into t values (1)')
    const more = [
      database.table('t').del(),
      database.table('t').where('id', 1),
      database.table('t').update({ id: 3 }),
      database.table('t').insert({ id: 4 }),
      database.table('t').select('id'),
      database.table('t').limit(1),
    ]
    for (const builder of more) {
      const error = await failure(database.executeMany(builder, [{ id: 2 }]))
      expect(error).toBeInstanceOf(ConfigurationError)
      expect(error.message).toMatch(/database\.table\('name'\)/)
    }
    expect(await idsOf(database)).toEqual([1])
  })

  it('reads its values from a stream of the transaction or connection that it runs in', async () => {
    await database.execute('create table u (id integer)')
    await database.executeMany(
      'insert into t values (:id)',
      Array.from({ length: 600 }, (_, id) => ({ id })),
    )
    const insert = 'insert into u values (:id)'
    const read = 'select id from t'
    type Set = { id: number }
    const ways = [
      () => database.transaction(() => database.executeMany(insert, database.iterate<Set>(read))),
      () => database.transaction((tx) => tx.executeMany(insert, tx.iterate<Set>(read))),
      () => database.transactionOnDemand(() => database.executeMany(insert, database.iterate<Set>(read))),
      () => database.connection(() => database.executeMany(insert, database.iterate<Set>(read))),
      () => database.connection((held) => held.executeMany(insert, held.iterate<Set>(read))),
      () => database.forceRollback(() => database.executeMany(insert, database.iterate<Set>(read))),
      async () => {
        await using tx = await database.begin()
        const result = await tx.executeMany(insert, tx.iterate<Set>(read))
        await tx.commit()
        return result
      },
    ]
    for (const way of ways) expect(await way()).toEqual({ rowCount: 600 })
    expect(Number(await database.fetchVal('select count(*) from u'))).toBe(600 * (ways.length - 1))
    await context.admin('drop table u')
  })

  it('that fails leaves the stream that it read from, and the transaction around it, as they should be', async () => {
    await database.execute('insert into t values (1)')
    await database.transaction(async (tx) => {
      const stream = tx.iterate<{ id: number }>('select id from t')
      await expect(tx.executeMany('insert into t values (:id)', stream)).rejects.toThrow(UniqueViolationError)
      expect(await stream.next()).toEqual({ done: true, value: undefined })

      const opened = tx.iterate<{ id: number }>('select id from t')
      await undone(
        tx.transaction(async () => {
          expect(await opened.next()).toEqual({ done: false, value: { id: 1 } })
          throw new Error('out')
        }),
      )
      await opened.return?.()
      await tx.execute('insert into t values (2)')
    })
    expect(await idsOf(database)).toEqual([1, 2])
  })
})
