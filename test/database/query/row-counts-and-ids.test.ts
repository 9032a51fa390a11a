/** What execute() returns: how many rows the statement changed, and on SQLite the id of the row that it inserted. */
import type { Database } from '../../../src/database'
import { valueOrMessage } from '../support'
import { eachDatabase } from '../../support/each-database'

eachDatabase('execute', (context) => {
  it('returns the id of its own INSERT, or null', async () => {
    const database = await context.open()
    await database.execute(
      'create table numbered (id integer primary key, name varchar(20) unique, hits integer)',
    )
    const insert = "insert into numbered (id, name, hits) values (7, 'seven', 1)"
    const isSqlite = context.dialect === 'sqlite'
    expect(await database.execute(insert)).toEqual({ rowCount: 1, lastInsertId: isSqlite ? 7 : null })
    const upsert = `${insert.replace('7', '9')} on conflict (name) do update set hits = 2`
    // SQLite does not say of an upsert whether it has inserted or updated.
    expect(await database.execute(upsert)).toEqual({ rowCount: 1, lastInsertId: null })
    const commented = upsert.replace('do update', 'do -- nothing but\n /* an */ update')
    expect(await database.execute(commented)).toEqual({ rowCount: 1, lastInsertId: null })
    const named = insert.replace('7', '8').replace("'seven'", "'do update'")
    expect(await database.execute(named)).toEqual({ rowCount: 1, lastInsertId: isSqlite ? 8 : null })
    await database.execute('delete from numbered where id = 8')
    const ignored = `${insert.replace('7', '9')} on conflict do nothing`
    expect(await database.execute(ignored)).toEqual({ rowCount: 0, lastInsertId: null })
    expect(await database.execute('update numbered set hits = 3')).toEqual({
      rowCount: 1,
      lastInsertId: null,
    })
    expect(await database.execute('select * from numbered')).toEqual({ rowCount: 0, lastInsertId: null })
  })

  if (context.dialect === 'sqlite') {
    it('returns no id for a table WITHOUT ROWID', async () => {
      const database = await context.open({ pool: { size: 1, maxOverflow: 0 } })
      await database.execute('create table plain (id integer primary key)')
      await database.execute('create table keyed (key text primary key) without rowid')
      expect(await database.execute('insert into plain values (41)')).toEqual({
        rowCount: 1,
        lastInsertId: 41,
      })
      for (const [index, keyed] of [
        'keyed',
        'main.keyed',
        '"keyed"',
        "'keyed'",
        '[KEYED]',
        '/* x */ keyed',
      ].entries()) {
        const inserted = await database.execute(`insert into ${keyed} values (:index)`, { index })
        expect(inserted).toEqual({ rowCount: 1, lastInsertId: null })
      }
      const copied = await database.execute('insert into keyed select id from plain')
      expect(copied).toEqual({ rowCount: 1, lastInsertId: null })
      const other = await context.open()
      await other.execute('create table later (key text primary key) without rowid')
      const later = await database.execute("insert into later values ('a')")
      expect(later).toEqual({ rowCount: 1, lastInsertId: null })
    })

    it('returns the id of its own INSERT ... SELECT, not an earlier one', async () => {
      const database = await context.open({ pool: { size: 1, maxOverflow: 0 } })
      await database.execute('create table copies (id integer primary key, name varchar(20))')
      const insert = "insert into copies select 5, 'five' where true"
      expect(await database.execute(insert)).toEqual({ rowCount: 1, lastInsertId: 5 })
      await database.execute("insert into copies values (6, 'six')")
      const again = await database.execute(`${insert} on conflict (id) do update set name = 'V'`)
      expect(again).toEqual({ rowCount: 1, lastInsertId: null })
    })

    it('refuses to return an integer that the driver has rounded, and says how to read it', async () => {
      const database = await context.open()
      await database.execute('create table large (id integer primary key, value bigint)')
      const statement = 'insert into large (value) values (:value) returning'
      const returned = database.fetchOne(`${statement} value`, { value: 2n ** 60n + 1n })
      const told = expect.stringContaining('RETURNING CAST(value AS TEXT)') as unknown
      expect(await valueOrMessage(returned)).toEqual(
        context.driver === 'sqlite3' ? told : { value: '1152921504606846977' },
      )
      const exact = await database.fetchVal(`${statement} cast(value as text)`, { value: 2n ** 60n + 1n })
      expect(exact).toBe('1152921504606846977')
    })
  }
})

eachDatabase('rowCount', (context) => {
  let database: Database

  beforeEach(async () => {
    database = await context.open({ pool: { size: 1, maxOverflow: 0 } })
    await database.execute('create table t (id integer primary key, name text)')
  })
  afterEach(async () => {
    await context.admin('drop table t')
  })

  it('is that of the statement, on a connection that has inserted before', async () => {
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
})
