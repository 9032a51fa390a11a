/** Failures that were reproduced in the Python library `databases`, in its queries: none of them is here. */
import { BindError, type Database, sql } from '../../../src/database'
import { eachDatabase } from '../../support/each-database'
import { all, idsOf, numbers } from '../support'

eachDatabase('what went wrong in queries of databases', (context) => {
  let database: Database

  beforeEach(async () => {
    database = await context.open({ pool: { size: 1, maxOverflow: 0 } })
    await database.execute('create table t (id integer primary key, name text)')
  })
  afterEach(async () => {
    await context.admin('drop table t')
  })

  it('JSON in the text of a statement is no :name', async () => {
    await database.execute(`insert into t values (:id, '{"a":1,"b":null,"c":"x"}')`, { id: 1 })
    expect(await database.fetchVal("select name from t where name like '{%:1,%}'")).toBe(
      '{"a":1,"b":null,"c":"x"}',
    )
  })

  it('a missing value stores nothing, least of all NULL', async () => {
    const insert = 'insert into t values (:id, :name)'
    await expect(database.execute(insert, { id: 1 })).rejects.toThrow(BindError)
    await expect(database.executeMany(insert, [{ id: 1, name: 'x' }, { id: 2 }])).rejects.toThrow(BindError)
    expect(await idsOf(database)).toEqual([])
  })

  it('the count is that of the statement, on a connection that has inserted before', async () => {
    await database.connection(async (connection) => {
      await connection.execute("insert into t values (8, 'x'), (9, 'y')")
      const counts = []
      for (const text of [
        "update t set name = 'z'",
        "update t set name = 'z' where id = 0",
        'delete from t where id = 8',
        'select * from t',
        'create table u (id integer)',
        'drop table u',
      ]) {
        counts.push((await connection.execute(text)).rowCount)
      }
      expect(counts).toEqual([2, 0, 1, 0, 0, 0])
    })
  })

  it('a loop that is left frees its connection before the next line runs', async () => {
    await database.transaction(async () => {
      for await (const _ of database.iterate(numbers(context.dialect, 1000))) break
      await database.execute("insert into t values (1, 'x')")
    })
    for await (const _ of database.iterate(numbers(context.dialect, 1000))) break
    expect(database.stats().used).toBe(0)
    expect(await idsOf(database)).toEqual([1])
  })

  it('an iterator that nobody ended stands in no other query’s way, in its own transaction', async () => {
    await database.transaction(async () => {
      const rows = database.iterate<{ n: number }>(numbers(context.dialect, 1000), {}, { batchSize: 2 })
      await rows.next()
      await database.execute("insert into t values (1, 'x')")
      expect(await all(database.iterate('select id from t'))).toEqual([{ id: 1 }])
    })
    expect(await idsOf(database)).toEqual([1])
  })

  it('a loop does not come upon the rows that it adds, on a connection that is shared with them', async () => {
    await database.executeMany('insert into t (id) values (:id)', [{ id: 1 }, { id: 2 }, { id: 3 }])
    let seen = 0
    await database.connection(async () => {
      for await (const { id } of database.iterate<{ id: number }>('select id from t', {}, { batchSize: 1 })) {
        seen += 1
        if (seen > 10) break
        await database.execute('insert into t (id) values (:id)', { id: id + 100 * seen })
      }
    })
    expect(seen).toBe(3)
  })

  it('a list is one value of a statement, in text and in a template', async () => {
    await database.execute("insert into t values (1, 'x'), (2, 'y'), (3, 'z')")
    const ids = [1, 3]
    expect(await database.fetchAll('select id from t where id in (:ids) order by id', { ids })).toHaveLength(
      2,
    )
    expect(await database.fetchAll(sql`select id from t where id in (${ids})`)).toHaveLength(2)
  })

  it('a number goes into a column of text', async () => {
    await database.execute('insert into t values (1, :name)', { name: 5 })
    expect(await database.fetchVal('select name from t')).toBe('5')
  })
})
