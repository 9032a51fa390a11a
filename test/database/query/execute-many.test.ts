/** Many sets of values for one statement: how they are divided, and what becomes of odd ones. */
import { BindError, ConfigurationError, Database, UniqueViolationError } from '../../../src/database'
import { eachDatabase } from '../../support/each-database'
import { failure, numbers } from '../support'

eachDatabase('executeMany', (context) => {
  let database: Database

  beforeEach(async () => {
    database = await context.open()
    await database.execute("create table d (id integer, kind text default 'none', note text)")
  })
  afterEach(async () => {
    await context.admin('drop table d')
  })

  const kinds = (): Promise<unknown[]> =>
    database.fetchAll('select id, kind, note from d order by coalesce(id, 0), kind, note')

  it('goes on with a statement of many rows after it has failed, and after many others', async () => {
    await database.execute('create unique index d_id on d (id)')
    const insert = 'insert into d (id, note) values (:id, :note)'
    // Too long for one value, so that each piece has a statement of hundreds of rows.
    const rows = (from: number) =>
      Array.from({ length: 500 }, (_, index) => ({ id: from + index, note: 'x'.repeat(100) }))
    const single = await context.open({ pool: { size: 1, maxOverflow: 0 } })
    await single.executeMany(insert, rows(0))
    expect(await failure(single.executeMany(insert, rows(499)))).toBeInstanceOf(UniqueViolationError)
    await single.executeMany(insert, rows(1000))
    for (let n = 0; n < 300; n += 1) await single.fetchVal(`select ${n}`)
    await single.executeMany(insert, rows(2000))
    await single.executeMany(insert, rows(3000))
    expect(await single.fetchVal('select count(*) from d')).toEqual(
      context.dialect === 'sqlite' ? 2000 : '2000',
    )
  })

  it('stores values as execute() stores them one by one', async () => {
    if (context.dialect === 'postgresql') return // It has no column that takes values of any type.
    await database.execute('create table several (x)')
    await database.execute('create table single (x)')
    const numbers = [0, -0, 1.5, 0.1, 1 / 3, 2 ** 31 - 1, 2 ** 31, -(2 ** 31), 2 ** 53, 1e300, Infinity]
    const texts = ['', '5', '5.0', 'it\'s "q"\\u0041', 'a\0b', '\u001f', '🐟', '\ud83d']
    const others = [null, true, false, 5n, 9007199254740993n, Buffer.from([0, 255])]
    const values = [...numbers, ...texts, ...others]
    for (const x of values) {
      await database.executeMany('insert into several (x) values (:x)', [{ x }, { x }, { x: 'other' }])
      for (const one of [x, x, 'other'])
        await database.execute('insert into single (x) values (:one)', { one })
    }
    const stored = (table: string): Promise<unknown[]> =>
      database.fetchAll(
        `select typeof(x) as type, quote(x) as text, hex(x) as bytes from ${table} order by rowid`,
      )
    expect(await stored('several')).toEqual(await stored('single'))
    await context.admin('drop table several')
    await context.admin('drop table single')
  })

  it('on a table gives a column its default where a set leaves it out', async () => {
    const sets = [{ id: 1 }, { id: 2, kind: 'a' }, { id: 3, kind: undefined }, { kind: 'b', id: 4 }, {}, {}]
    expect(await database.executeMany(database.table('d'), sets)).toEqual({ rowCount: 6 })
    expect(await kinds()).toEqual([
      { id: null, kind: 'none', note: null },
      { id: null, kind: 'none', note: null },
      { id: 1, kind: 'none', note: null },
      { id: 2, kind: 'a', note: null },
      { id: 3, kind: 'none', note: null },
      { id: 4, kind: 'b', note: null },
    ])
  })

  it('on a table takes more values than the database takes in one statement', async () => {
    const columns = Array.from({ length: 700 }, (_, index) => `c${index}`)
    await database.execute(`create table wide (${columns.map((name) => `${name} integer`).join(', ')})`)
    const row = Object.fromEntries(columns.map((name, index) => [name, index]))
    expect(
      await database.executeMany(
        database.table('wide'),
        Array.from({ length: 120 }, () => row),
      ),
    ).toEqual({
      rowCount: 120,
    })
    expect(await database.fetchVal('select sum(c699) from wide')).toEqual(
      context.dialect === 'sqlite' ? 120 * 699 : String(120 * 699),
    )
  })

  it('on a table refuses what is no set of values', async () => {
    for (const odd of [null, 5, 'x', [1]]) {
      await expect(database.executeMany(database.table('d'), [{ id: 1 }, odd as never])).rejects.toThrow(
        ConfigurationError,
      )
    }
    expect(await kinds()).toEqual([])
  })

  it('on a table says which value cannot be bound', async () => {
    if (context.dialect === 'postgresql') return // PostgreSQL knows NaN.
    const error = await failure(database.executeMany(database.table('d'), [{ id: 1 }, { id: Number.NaN }]))
    expect(error).toBeInstanceOf(BindError)
    expect(error.message).toMatch(/^Value 2 of the builder .*NaN/)
    expect(await kinds()).toEqual([])
  })

  it('shows the statement as it was written, not with hundreds of rows, in errors and events', async () => {
    await context.admin('create table u (id integer primary key, note text)')
    const shown: string[] = []
    database.on('query', ({ sql }) => shown.push(sql))
    const sets = Array.from({ length: 300 }, (_, id) => ({ id: id % 299, note: 'x' }))
    const text = 'insert into u (id, note) values (:id, :note)'
    const error = await failure(database.executeMany(text, sets))
    expect(error).toBeInstanceOf(UniqueViolationError)
    expect(error).toMatchObject({ sql: text })
    expect(await failure(database.executeMany(database.table('u'), sets))).toBeInstanceOf(
      UniqueViolationError,
    )
    expect(Math.max(...shown.map((sql) => sql.length))).toBeLessThan(100)
  })

  it('reads its values from a stream of the same database', async () => {
    const rows = database.iterate<{ n: number }>(numbers(context.dialect, 1000))
    const sets = (async function* () {
      for await (const { n } of rows) yield { id: n }
    })()
    expect(await database.executeMany('insert into d (id) values (:id)', sets)).toEqual({ rowCount: 1000 })
  })
})

describe('executeMany in memory', () => {
  it('reads its values from a stream of the same database, over the one connection', async () => {
    await using database = new Database('sqlite://', { pool: { acquireTimeoutMillis: 2000 } })
    await database.connect()
    await database.execute('create table t (id integer)')
    const rows = database.iterate<{ id: number }>(
      numbers('sqlite', 1000).replace('select n from', 'select n as id from'),
    )
    expect(await database.executeMany('insert into t (id) values (:id)', rows)).toEqual({ rowCount: 1000 })
    expect(await database.fetchVal('select count(*) from t')).toBe(1000)
  })
})
