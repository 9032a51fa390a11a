/** Bugs that a review found, each as the behaviour that it lacked. */
import { ConfigurationError, type Database, TransactionError } from '../../src/database'
import { eachDatabase } from '../support/each-database'
import { all, failure } from './support'

eachDatabase('a bug found by review', (context) => {
  const isSqlite = context.dialect === 'sqlite'
  let database: Database

  beforeEach(async () => {
    database = await context.open()
  })

  it('executeMany runs what it was given for each set of values, when VALUES is not the INSERT’s own', async () => {
    await database.execute('create table totals (x integer)')
    const statement =
      'insert into totals select sum(cast(v.a as integer)) from (select :x as a union all select 0) as v'
    const wrapped = 'insert into totals select x from (select 1 as x) as one where x in (values (:x))'
    await database.executeMany(statement, [{ x: '1' }, { x: '2' }, { x: '3' }])
    await database.executeMany(wrapped, isSqlite ? [{ x: 1 }, { x: 2 }] : [])
    const rows = await database.fetchAll<{ x: number }>('select x from totals order by x')
    expect(rows.map(({ x }) => x)).toEqual(isSqlite ? [1, 1, 2, 3] : [1, 2, 3])
    await database.execute('drop table totals')
  })

  it('a view that is broken does no harm to other queries', async () => {
    if (isSqlite) {
      await database.execute('create table gone (id integer)')
      await database.execute('create view broken as select * from gone')
      await database.execute('drop table gone')
    }
    expect(await database.fetchAll('select 1 as x')).toEqual([{ x: 1 }])
    if (isSqlite) await database.execute('drop view broken')
  })

  it('a table that is made in a transaction has its types for those who read afterwards', async () => {
    await database.transaction(async () => {
      await database.execute('create table fresh (ok boolean)')
      await database.execute('insert into fresh values (:ok)', { ok: true })
      await database.detached(() => database.fetchAll('select 1 as x'))
    })
    expect(await database.fetchAll('select * from fresh')).toEqual([{ ok: true }])
    await database.execute('drop table fresh')
  })

  it('RETURNING gives columns their types, under whatever name, and expressions none', async () => {
    await database.execute('create table flagged (id integer primary key, flag boolean)')
    const returning = 'insert into flagged values (1, :flag) returning id as flag, flag as ok'
    expect(await database.fetchAll(returning, { flag: true })).toEqual([{ flag: 1, ok: true }])
    await database.execute('drop table flagged')
  })

  it('a comment behind the semicolon changes nothing', async () => {
    await database.execute('create table noted (id integer primary key)')
    expect(await database.execute('insert into noted values (1); -- note')).toMatchObject({ rowCount: 1 })
    expect(await all(database.iterate('select id from noted; -- note'))).toEqual([{ id: 1 }])
    await database.execute('drop table noted')
  })

  it('EXPLAIN can be streamed inside a transaction, too', async () => {
    const rows = await database.transaction(() => all(database.iterate('explain select 1')))
    expect(rows.length).toBeGreaterThan(0)
  })

  it('two who force a rollback at once do not undo each other’s: the second is refused', async () => {
    await database.execute('create table forced (id integer)')
    const first = database.forceRollback(async () => database.execute('insert into forced values (1)'))
    expect(await failure(database.forceRollback(async () => undefined))).toBeInstanceOf(TransactionError)
    await first
    expect(await database.fetchAll('select * from forced')).toEqual([])
    const inside = database.transaction(() => database.forceRollback(async () => undefined))
    expect(await failure(inside)).toBeInstanceOf(TransactionError)
    await database.execute('drop table forced')
  })

  it('begin() refuses what only a block can have', async () => {
    expect(await failure(database.begin({ retries: 1 }))).toBeInstanceOf(ConfigurationError)
    expect(await failure(database.begin({ forceRollback: true }))).toBeInstanceOf(ConfigurationError)
  })

  it('a job that detaches itself ten thousand times still asks its queries', async () => {
    let value: unknown
    await new Promise<void>((resolve, reject) => {
      const job = (left: number): void => {
        database.detached(() => {
          if (left > 0) setImmediate(job, left - 1)
          else database.fetchVal('select 1').then((found) => resolve(void (value = found)), reject)
        })
      }
      job(10_000)
    })
    expect(value).toBe(1)
  })

  it('a transaction that afterConnect has left open does not swallow the work of the first who comes', async () => {
    const told: string[] = []
    const careless = context.track(
      new (database.constructor as typeof Database)(context.url, {
        afterConnect: async (connection) => void (await connection.execute('begin')),
      }),
    )
    careless.on('cleanup', ({ what }) => told.push(what))
    await careless.connect()
    await careless.execute('create table kept (id integer)')
    expect(await database.fetchAll('select * from kept')).toEqual([])
    expect(told[0]).toContain('afterConnect')
    await database.execute('drop table kept')
  })

  it('the value of a statement is not quoted in its error, wherever the database puts it', async () => {
    const statement = isSqlite ? "select json_extract('{}', :path)" : 'select cast(:path as regclass)'
    const error = await failure(database.fetchVal(statement, { path: 'my-secret' }))
    expect(error.message).not.toContain('my-secret')
    expect(error.stack).not.toContain('my-secret')
  })

  it('a column that somebody else adds is there for a stream at once', async () => {
    await database.execute('create table widened (id integer primary key)')
    await database.execute('insert into widened values (1)')
    expect(await all(database.iterate('select * from widened'))).toEqual([{ id: 1 }])
    await context.admin('alter table widened add column more integer default 2')
    expect(await all(database.iterate('select * from widened'))).toEqual([{ id: 1, more: 2 }])
    const inside = database.transaction(() => all(database.iterate('select * from widened')))
    expect(await inside).toEqual([{ id: 1, more: 2 }])
    await database.execute('drop table widened')
  })

  it('a query without a statement is refused', async () => {
    expect(await failure(database.fetchAll(' -- nothing'))).toBeInstanceOf(ConfigurationError)
  })
})
