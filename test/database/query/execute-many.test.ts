/** executeMany(): batches, sources of values, all or nothing, and what is refused. */
import {
  BindError,
  ConfigurationError,
  type Database,
  QueryCanceledError,
  QueryTimeoutError,
  UniqueViolationError,
} from '../../../src/database'
import { failure, idsOf, numbers, undone } from '../support'
import { eachDatabase } from '../../support/each-database'

eachDatabase('executeMany', (context) => {
  let database: Database

  beforeEach(async () => {
    database = await context.open()
    await database.execute("create table d (id integer, kind text default 'none', note text)")
  })
  afterEach(async () => {
    await context.admin('drop table d')
  })

  const isSqlite = context.dialect === 'sqlite'
  const kinds = (): Promise<unknown[]> =>
    database.fetchAll('select id, kind, note from d order by coalesce(id, 0), kind, note')

  it('works again after it has failed, and after many other statements', async () => {
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

  it('stores values as execute() does', async () => {
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

  it('uses the default of a column that a set of values leaves out', async () => {
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

  it('splits rows that hold more values than one statement may', async () => {
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

  it('refuses values that are not objects', async () => {
    for (const odd of [null, 5, 'x', [1]]) {
      await expect(database.executeMany(database.table('d'), [{ id: 1 }, odd as never])).rejects.toThrow(
        ConfigurationError,
      )
    }
    expect(await kinds()).toEqual([])
  })

  it("names the value of a table's column that cannot be bound", async () => {
    if (context.dialect === 'postgresql') return // PostgreSQL knows NaN.
    const error = await failure(database.executeMany(database.table('d'), [{ id: 1 }, { id: Number.NaN }]))
    expect(error).toBeInstanceOf(BindError)
    expect(error.message).toMatch(/^Value 2 of the builder .*NaN/)
    expect(await kinds()).toEqual([])
  })

  it('shows the statement as written, not with hundreds of rows, in errors and events', async () => {
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

  it('accepts a stream of the same database as its source', async () => {
    const rows = database.iterate<{ n: number }>(numbers(context.dialect, 1000))
    const sets = (async function* () {
      for await (const { n } of rows) yield { id: n }
    })()
    expect(await database.executeMany('insert into d (id) values (:id)', sets)).toEqual({ rowCount: 1000 })
  })

  it("runs the statement once for each set when VALUES is not the INSERT's own", async () => {
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
})

eachDatabase('executeMany', (context) => {
  let database: Database

  beforeEach(async () => {
    database = await context.open({ pool: { size: 1, maxOverflow: 0 } })
    await database.execute('create table t (id bigint primary key, name text)')
  })
  afterEach(async () => {
    await context.admin('drop table t')
  })

  it('inserts each set of values, and counts them', async () => {
    const values = Array.from({ length: 250 }, (_, id) => ({ id }))
    expect(await database.executeMany('insert into t (id) values (:id)', values)).toEqual({ rowCount: 250 })
    expect(
      await database.executeMany(
        database.table('t'),
        values.map(({ id }) => ({ id: id + 1000 })),
      ),
    ).toEqual({
      rowCount: 250,
    })
    expect(await idsOf(database)).toHaveLength(500)
    expect(await database.executeMany('insert into t (id) values (:id)', [])).toEqual({ rowCount: 0 })
  })

  it('accepts an async generator', async () => {
    let made = 0
    async function* rows(): AsyncGenerator<{ id: number }> {
      for (; made < 350; made += 1) yield { id: made }
    }
    expect(await database.executeMany(database.table('t'), rows())).toEqual({ rowCount: 350 })
    made = 1000
    expect(await database.executeMany('insert into t (id) values (:id)', rows())).toEqual({ rowCount: 0 })
  })

  it('stores nothing when one set of values is refused', async () => {
    const values = [{ id: 1 }, { id: 2 }, { id: 1 }]
    await expect(database.executeMany('insert into t (id) values (:id)', values)).rejects.toThrow(
      UniqueViolationError,
    )
    await expect(database.executeMany(database.table('t'), values)).rejects.toThrow(UniqueViolationError)
    await expect(database.executeMany('insert into t (id) values (:id)', [{ id: 1 }, {}])).rejects.toThrow(
      /:id/,
    )
    expect(await idsOf(database)).toEqual([])
  })

  it('stores nothing when its generator fails or is closed early', async () => {
    let closed = false
    async function* rows(): AsyncGenerator<{ id: number }> {
      try {
        for (let id = 0; ; id += 1) yield { id: id % 200 }
      } finally {
        closed = true
      }
    }
    await expect(database.executeMany(database.table('t'), rows())).rejects.toThrow(UniqueViolationError)
    expect(closed).toBe(true)
    const failing = (async function* () {
      yield { id: 1 }
      throw new Error('no more')
    })()
    await expect(database.executeMany('insert into t (id) values (:id)', failing)).rejects.toThrow('no more')
    expect(await idsOf(database)).toEqual([])
  })

  it('joins the open transaction', async () => {
    await undone(
      database.transaction(async () => {
        await database.executeMany('insert into t (id) values (:id)', [{ id: 1 }])
        throw new Error('out')
      }),
    )
    expect(await idsOf(database)).toEqual([])
  })

  it('refuses a raw Knex query', async () => {
    await expect(database.executeMany(database.knex.raw('select 1'), [{ id: 1 }])).rejects.toThrow(
      ConfigurationError,
    )
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

  it('refuses a builder that is more than a table', async () => {
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

  it('accepts a stream of its own transaction or connection as its source', async () => {
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

  it('that fails closes the stream it read from, and leaves its transaction usable', async () => {
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

eachDatabase('executeMany', (context) => {
  let database: Database

  beforeEach(async () => {
    database = await context.open({ pool: { acquireTimeoutMillis: 500 } })
    await database.execute('create table t (id integer)')
  })
  afterEach(async () => {
    await context.admin('drop table t')
  })

  it('rejects within its time limit, or on abort, when its source gives no more values', async () => {
    let isClosed = false
    async function* stuck(): AsyncGenerator<{ id: number }> {
      try {
        yield { id: 1 }
        await new Promise(() => undefined)
      } finally {
        isClosed = true
      }
    }
    const started = performance.now()
    const error = await failure(
      database.executeMany('insert into t values (:id)', stuck(), { timeoutMillis: 100 }),
    )
    expect(error).toBeInstanceOf(QueryTimeoutError)
    expect(performance.now() - started).toBeLessThan(5000)
    const controller = new AbortController()
    const stopped = failure(
      database.executeMany('insert into t values (:id)', stuck(), { signal: controller.signal }),
    )
    controller.abort()
    expect(await stopped).toBeInstanceOf(QueryCanceledError)
    expect(isClosed).toBe(false)
    expect(await idsOf(database)).toEqual([])
  })
})
