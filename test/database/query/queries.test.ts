/** The query methods: what they return for rows, for no rows, and for changes. */
import { ConfigurationError, type Database, QueryError, sql } from '../../../src/database'
import { eachDatabase } from '../../support/each-database'
import { numbers } from '../support'

eachDatabase('queries', (context) => {
  let database: Database

  beforeEach(async () => {
    database = await context.open({ pool: { size: 1, maxOverflow: 0 } })
    await database.execute('create table t (id integer primary key, name text)')
    await database.execute("insert into t values (1, 'a'), (2, null), (3, 'c')")
  })
  afterEach(async () => {
    await context.admin('drop table t')
  })

  it('give the same rows as text, as a template and as a builder', async () => {
    const expected = [{ id: 2, name: null }]
    expect(await database.fetchAll('select * from t where id = :id', { id: 2 })).toEqual(expected)
    expect(await database.fetchAll(sql`select * from t where id = ${2}`)).toEqual(expected)
    expect(await database.fetchAll(database.table('t').where({ id: 2 }))).toEqual(expected)
    expect(await database.fetchAll(database.knex.raw('select * from t where id = ?', [2]))).toEqual(expected)
    expect(await database.fetchOne(database.table('t').where({ id: 2 }))).toEqual(expected[0])
    expect(await database.fetchVal(database.table('t').where({ id: 2 }).select('id'))).toBe(2)
  })

  it('return an empty array, null and null when there are no rows', async () => {
    const none = 'select * from t where id = -1'
    expect(await database.fetchAll(none)).toEqual([])
    expect(await database.fetchOne(none)).toBeNull()
    expect(await database.fetchVal(none)).toBeNull()
    expect(await database.fetchVal(none, {}, { column: 'id' })).toBeNull()
  })

  it('made of builders run once, when they are handed to a query method', async () => {
    const builder = database.table('t').insert({ id: 9 })
    expect(await database.fetchAll('select id from t where id = 9')).toEqual([])
    await database.execute(builder)
    expect(await database.fetchAll('select id from t where id = 9')).toEqual([{ id: 9 }])
  })

  it('refuse values that are not queries', async () => {
    for (const query of [null, undefined, 5, {}, ['select 1']]) {
      await expect(database.fetchAll(query as string)).rejects.toThrow(ConfigurationError) // as from JavaScript
    }
  })

  it('refuse an unknown option by its name', async () => {
    const options = { timeout: 5 } as object // as from JavaScript
    await expect(database.fetchAll('select 1', {}, options)).rejects.toThrow(/'timeout'.*timeoutMillis/)
    await expect(database.execute('delete from t', {}, options)).rejects.toThrow(ConfigurationError)
    expect(() => database.iterate('select 1', {}, options)).toThrow(ConfigurationError)
    await expect(database.executeMany('delete from t', [], options)).rejects.toThrow(ConfigurationError)
  })

  describe('fetchVal', () => {
    it('returns the first column of the first row', async () => {
      expect(await database.fetchVal('select id, name from t order by id desc')).toBe(3)
    })

    it('returns null for NULL', async () => {
      expect(await database.fetchVal('select name from t where id = 2')).toBeNull()
    })

    it('takes a column by name or by index', async () => {
      const query = 'select id, name from t where id = 3'
      expect(await database.fetchVal(query, {}, { column: 'name' })).toBe('c')
      expect(await database.fetchVal(query, {}, { column: 1 })).toBe('c')
    })

    it('names the existing columns when there is no such column', async () => {
      const query = 'select id, name from t'
      await expect(database.fetchVal(query, {}, { column: 'title' })).rejects.toThrow(/"title".*id, name/)
      await expect(database.fetchVal(query, {}, { column: 2 })).rejects.toThrow(/2 columns/)
      await expect(database.fetchVal(query, {}, { column: -1 })).rejects.toThrow(ConfigurationError)
    })
  })

  describe('fetchOne', () => {
    it('returns the first row', async () => {
      expect(await database.fetchOne('select id from t order by id desc')).toEqual({ id: 3 })
    })

    it('does not compute the other rows', async () => {
      // Row 1,000 is an error, which a database that computed it would report.
      const query = `select 1 / (1000 - n) as x from (${numbers(context.dialect, 2_000_000)}) as s`
      const strict =
        context.dialect === 'postgresql'
          ? query
          : query.replace('1 / (1000 - n)', "iif(n = 1000, json('{'), n)")
      expect(await database.fetchOne(strict)).not.toBeNull()
      expect(await database.fetchVal(strict)).not.toBeNull()
      await expect(database.fetchAll(strict)).rejects.toThrow(QueryError)
    })

    it('leaves the connection usable, in a transaction too', async () => {
      const many = numbers(context.dialect, 100_000)
      await database.transaction(async (tx) => {
        expect(await tx.fetchOne(many)).toEqual({ n: 1 })
        expect(await tx.fetchVal(many)).toBe(1)
        await tx.execute("insert into t values (4, 'd')")
        expect(await tx.fetchOne(many)).toEqual({ n: 1 })
      })
      expect(await database.fetchVal('select name from t where id = 4')).toBe('d')
    })

    it('runs an UPDATE ... RETURNING to its end', async () => {
      const query = "update t set name = 'z' returning id"
      expect(await database.fetchOne(query)).toEqual({ id: 1 })
      expect(await database.fetchAll("select id from t where name = 'z'")).toHaveLength(3)
    })
  })

  describe('execute', () => {
    it('counts the rows that the statement changed', async () => {
      expect(await database.execute("update t set name = 'x'")).toMatchObject({ rowCount: 3 })
      expect(await database.execute("update t set name = 'x' where id = 1")).toMatchObject({ rowCount: 1 })
      expect(await database.execute("update t set name = 'x' where id = -1")).toMatchObject({ rowCount: 0 })
      expect(await database.execute("insert into t values (4, 'd'), (5, 'e')")).toMatchObject({ rowCount: 2 })
      expect(await database.execute('delete from t where id > 3')).toMatchObject({ rowCount: 2 })
      expect(await database.execute(database.table('t').del())).toMatchObject({ rowCount: 3 })
    })

    it('does not repeat the count or id of an earlier statement on the connection', async () => {
      const isSqlite = context.dialect === 'sqlite'
      expect(await database.execute("insert into t values (50, 'x')")).toEqual({
        rowCount: 1,
        lastInsertId: isSqlite ? 50 : null,
      })
      const nothing = { rowCount: 0, lastInsertId: null }
      expect(await database.execute('select * from t')).toEqual(nothing)
      expect(await database.execute('create table u (id integer)')).toEqual(nothing)
      expect(await database.execute('drop table u')).toEqual(nothing)
      expect(await database.execute("update t set name = 'y' where id = -1")).toEqual(nothing)
      expect(await database.execute("insert into t select 60, 'x' where 1 = 0")).toEqual(nothing)
      expect(await database.execute("insert into t values (50, 'x') on conflict do nothing")).toEqual(nothing)
      expect(await database.execute("update t set name = 'y' where id = 50")).toEqual({
        rowCount: 1,
        lastInsertId: null,
      })
      expect(await database.execute(database.table('t').where({ id: 50 }).update({ name: 'z' }))).toEqual({
        rowCount: 1,
        lastInsertId: null,
      })
    })

    it('counts changed rows of a statement with RETURNING', async () => {
      expect(await database.execute("update t set name = 'q' returning id")).toMatchObject({ rowCount: 3 })
      expect(await database.fetchAll("insert into t values (7, 'x') returning id")).toEqual([{ id: 7 }])
      expect(await database.fetchVal('delete from t where id = 7 returning name')).toBe('x')
    })

    it('does not count rows that were only read', async () => {
      expect(await database.execute('select * from t')).toMatchObject({ rowCount: 0 })
      expect(
        await database.execute("with s as (select 8 as id) insert into t select id, 'w' from s"),
      ).toMatchObject({ rowCount: 1 })
    })

    it('runs schema changes, as text and as builders', async () => {
      await database.execute(
        database.knex.schema.createTable('made', (table) => {
          table.integer('id')
          table.integer('other').index()
        }),
      )
      expect(await database.execute('insert into made (id) values (1)')).toMatchObject({ rowCount: 1 })
      expect(await database.execute(database.knex.schema.dropTable('made'))).toEqual({
        rowCount: 0,
        lastInsertId: null,
      })
      await expect(database.fetchAll(database.knex.schema.dropTable('made'))).rejects.toThrow(/no rows/)
    })
  })
})
