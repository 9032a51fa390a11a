/**
 * Keyset pages: every row once and in order, whatever its values, by cursors that are exact.
 *
 * MILLPOND_PAGES=n sets how many random tables are paged through per database; MILLPOND_SEED=n runs those of a seed that failed.
 */
import fc from 'fast-check'
import {
  ConfigurationError,
  CursorError,
  type Database,
  keyset,
  type KeysetOptions,
  type KeysetPage,
  type Row,
} from '../../src/database'
import type { Knex } from 'knex'
import { eachDatabase } from '../support/each-database'
import { rounds } from '../support/rounds'
import { failure } from './support'

const TABLES = rounds(40, 400, 'MILLPOND_PAGES')
const SEED = Number(process.env['MILLPOND_SEED'] ?? Math.floor(Math.random() * 2 ** 31))

interface Ordered {
  readonly column: string
  readonly order?: 'asc' | 'desc'
  readonly nulls?: 'first' | 'last'
}

eachDatabase('keyset()', (context) => {
  const isPostgres = context.dialect === 'postgresql'
  let database: Database

  beforeEach(async () => {
    database = await context.open()
  })
  afterEach(async () => {
    await context.admin('drop table if exists t')
    await context.admin('drop table if exists u')
  })

  /** Follows the cursors from the first page to the last. */
  async function walk(builder: () => Knex.QueryBuilder, options: KeysetOptions): Promise<Row[]> {
    const all: Row[] = []
    let after: string | null = null
    do {
      const { rows, next }: KeysetPage<Row> = await keyset(database, builder(), { ...options, after })
      expect(rows.length).toBeLessThanOrEqual(options.limit)
      expect(next === null || rows.length === options.limit).toBe(true)
      all.push(...rows)
      after = next
    } while (after !== null)
    return all
  }

  /** The ids in the order that the database itself puts them in. */
  async function ids(order: readonly Ordered[], where = ''): Promise<unknown[]> {
    const terms = order.map(
      ({ column, order: direction = 'asc', nulls }) =>
        `${column} ${direction}${nulls === undefined ? '' : ` nulls ${nulls}`}`,
    )
    const rows = await database.fetchAll(`select id from t ${where} order by ${terms.join(', ')}`)
    return rows.map(({ id }) => id)
  }

  it(
    'walks through every row once, in order, for random rows, orders and sizes of pages',
    async () => {
      const real = isPostgres ? 'double precision' : 'real'
      await database.execute(
        `create table t (id integer primary key, n bigint not null, s text not null, r ${real} not null, x integer, y text)`,
      )
      const small = fc.integer({ min: -2, max: 2 })
      const row = fc.record({
        n: fc.oneof(small, fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })),
        s: fc.oneof(
          fc.constantFrom('', 'a', 'A', 'b', 'é', "'", 'null', '[null]'),
          fc.string({ unit: 'binary', maxLength: 4 }).filter((text) => !text.includes('\0')),
        ),
        // JavaScript cannot bind 2^63 to a column of SQLite as a number.
        r: fc.oneof(small, fc.double({ noNaN: true })).filter((value) => value !== 2 ** 63),
        x: fc.option(small),
        y: fc.option(fc.constantFrom('', 'a', 'b', 'null')),
      })
      const direction = fc.constantFrom('asc' as const, 'desc' as const)
      const nulls = fc.constantFrom('first' as const, 'last' as const)
      const term = fc.oneof(
        fc.record({ column: fc.constantFrom('n', 's', 'r'), order: direction }),
        fc.record({ column: fc.constantFrom('n', 's', 'r', 'x', 'y'), order: direction, nulls }),
      )
      const terms = fc.uniqueArray(term, { maxLength: 3, selector: ({ column }) => column })
      let met = 0
      await fc.assert(
        fc.asyncProperty(
          fc.array(row, { maxLength: 24 }),
          terms,
          direction,
          fc.integer({ min: 1, max: 9 }),
          async (rows, chosen, last, limit) => {
            await database.execute('delete from t')
            await database.executeMany(
              'insert into t values (:id, :n, :s, :r, :x, :y)',
              rows.map((values, id) => ({ id, ...values })),
            )
            const order = [...chosen, { column: 'id', order: last }]
            const walked = await walk(() => database.table('t').select('id', 's'), { orderBy: order, limit })
            expect(walked.map(({ id }) => id)).toEqual(await ids(order))
            expect(walked.map(({ s }) => s)).toEqual(walked.map(({ id }) => rows[Number(id)]?.s))
            met += walked.length
          },
        ),
        { numRuns: TABLES, seed: SEED },
      )
      expect(met).toBeGreaterThan(TABLES)
    },
    60_000 + TABLES * 500,
  )

  const KINDS: readonly (readonly [type: string, ...values: string[]])[] = isPostgres
    ? [
        [
          'timestamptz',
          "'2026-03-01 12:30:00.123456+00'",
          "'2026-03-01 12:30:00.123457+00'",
          "'2026-03-01 12:30:00.123456+00'",
          "'infinity'",
          "'-infinity'",
          "'4713-01-01 BC'",
        ],
        ['timestamp', "'2026-03-01 12:30:00.123456'", "'2026-03-01 12:30:00.123457'"],
        ['date', "'2026-03-01'", "'infinity'", "'0044-03-15 BC'"],
        ['interval', "'1 month'", "'30 days'", "'1 microsecond'"],
        [
          'numeric',
          '0.1',
          '0.10',
          '123456789012345678901234567890.5',
          '123456789012345678901234567890.6',
          "'NaN'",
        ],
        ['real', '0.1', '16777217', "'NaN'", "'-Infinity'"],
        [
          'uuid',
          "'00000000-0000-0000-0000-000000000001'",
          "'ffffffff-ffff-ffff-ffff-ffffffffffff'",
          "'00000000-0000-0000-0000-000000000001'",
        ],
        ['bytea', "'\\x00'", "'\\x00ff'", "''"],
        ['boolean', 'true', 'false', 'true', 'false'],
        ['integer[]', "'{1,2}'", "'{1}'", "'{}'", "'{1,2}'"],
        ['text collate "C"', "'a'", "'B'", "'á'"],
        ['char(3)', "'a'", "'b'", "'a'"],
        ['inet', "'10.0.0.1'", "'10.0.0.0/8'", "'::1'"],
        ['bigint', '9007199254740993', '9007199254740992', '9007199254740993'],
      ]
    : [
        // Without a type, and so of any storage class.
        [
          '',
          '1',
          "'1'",
          '1.5',
          "x'31'",
          "x''",
          '9007199254740993',
          '9007199254740992.0',
          "''",
          "'x' || char(0) || 'y'",
          "'x' || char(0) || 'z'",
          '1e999',
          '-1e999',
          '0.1 + 0.2',
          '1',
        ],
        ['text collate nocase', "'a'", "'B'", "'A'", "'b'"],
        ['boolean', 'true', 'false', 'true'],
        ['timestamp', "'2026-03-01 12:30:00.123'", '1772368200123', "'2026-03-01 12:30:00.1234'"],
        ['numeric', "'0.1'", "'abc'", '9223372036854775807', '-9223372036854775808'],
        ['json', `'{"a": 1}'`, "'[1]'", "'null'"],
        ['blob', "x'00'", "x'00ff'", "'text'"],
        ['real', '0.1', '1e300', '3', '-0.0', '0.30000000000000004', '0.3'],
      ]

  it.each(KINDS)('has exact cursors for values of %s', async (type, ...values) => {
    await database.execute(`create table t (id integer primary key, v ${type} not null)`)
    for (const [id, value] of values.entries()) await context.admin(`insert into t values (${id}, ${value})`)
    for (const order of ['asc', 'desc'] as const) {
      for (const last of ['asc', 'desc'] as const) {
        const orderBy = [
          { column: 'v', order },
          { column: 'id', order: last },
        ]
        // Some of these cannot be read by the driver sqlite3, and need not be.
        const walked = await walk(() => database.table('t').select('id'), { orderBy, limit: 1 })
        expect(walked.map(({ id }) => id)).toEqual(await ids(orderBy))
      }
    }
  })

  it("adds to the builder's conditions, with OR among them, and replaces its order and limit", async () => {
    await database.execute('create table t (id integer primary key, n integer not null)')
    await database.executeMany(
      'insert into t values (:id, :n)',
      Array.from({ length: 20 }, (_, id) => ({ id, n: id % 3 })),
    )
    const orderBy = ['n', 'id']
    for (const builder of [
      () => database.table('t').where('n', 0).orWhere('n', 1),
      () => database.table('t').whereRaw('n = 0 or n = 1').orderBy('id', 'desc').limit(1).offset(5),
    ])
      expect((await walk(builder, { orderBy, limit: 3 })).map(({ id }) => id)).toEqual(
        await ids([{ column: 'n' }, { column: 'id' }], 'where n in (0, 1)'),
      )
    // The builder itself stays as it was.
    const builder = database.table('t').where('n', 0).orWhere('n', 1)
    const before = builder.toQuery()
    await keyset(database, builder, { orderBy, limit: 3, after: [0, 3] })
    expect(builder.toQuery()).toBe(before)
  })

  it('takes joins, aliases, groups, parts of unions, and values in place of a cursor', async () => {
    await database.execute('create table t (id integer primary key, owner integer not null)')
    await database.execute('create table u (id integer primary key, name text not null)')
    await database.executeMany('insert into u values (:id, :name)', [
      { id: 1, name: 'b' },
      { id: 2, name: 'a' },
    ])
    await database.executeMany(
      'insert into t values (:id, :owner)',
      [1, 2, 3, 4, 5].map((id) => ({ id, owner: (id % 2) + 1 })),
    )
    const joined = (): Knex.QueryBuilder =>
      database.table('t').join('u as owner', 'owner.id', 't.owner').select('t.id', { title: 'owner.name' })
    const options = { orderBy: ['owner.name', { column: 't.id', order: 'desc' as const }], limit: 2 }
    expect(await walk(joined, options)).toEqual([
      { id: 5, title: 'a' },
      { id: 3, title: 'a' },
      { id: 1, title: 'a' },
      { id: 4, title: 'b' },
      { id: 2, title: 'b' },
    ])
    const { rows, next } = await keyset(database, joined(), { ...options, after: ['a', 1] })
    expect(rows).toEqual([
      { id: 4, title: 'b' },
      { id: 2, title: 'b' },
    ])
    expect(next).toBeNull()
    const groups = (): Knex.QueryBuilder =>
      database.table('t').select('owner').count({ n: '*' }).groupBy('owner')
    expect(
      (await walk(groups, { orderBy: ['owner'], limit: 1 })).map(({ owner, n }) => [owner, Number(n)]),
    ).toEqual([
      [1, 2],
      [2, 3],
    ])
    const union = database.table('t').select('id').union(database.table('u').select('id'))
    expect(await failure(keyset(database, union, { orderBy: ['id'], limit: 1 }))).toBeInstanceOf(
      ConfigurationError,
    )
    const whole = (): Knex.QueryBuilder => database.knex.select('*').from(union.as('both'))
    expect((await walk(whole, { orderBy: ['id'], limit: 2 })).map(({ id }) => id)).toEqual([1, 2, 3, 4, 5])
  })

  it('runs where it is told to: in the transaction of its scope, or on a handle', async () => {
    await database.execute('create table t (id integer primary key)')
    await database.transaction(
      async (tx) => {
        await database.execute('insert into t values (1)')
        expect((await keyset(database, database.table('t'), { orderBy: ['id'], limit: 1 })).rows).toEqual([
          { id: 1 },
        ])
        expect((await keyset(tx, database.table('t'), { orderBy: ['id'], limit: 1 })).rows).toEqual([
          { id: 1 },
        ])
      },
      { forceRollback: true },
    )
    const aborted = keyset(database, database.table('t'), {
      orderBy: ['id'],
      limit: 1,
      signal: AbortSignal.abort(),
    })
    expect(await failure(aborted)).toMatchObject({ code: 'QUERY_CANCELED' })
  })

  it('works where functions of Knex rename columns', async () => {
    const { knexSnakeCaseMappers } = await import('objection')
    const renaming = await context.open({ knex: knexSnakeCaseMappers() })
    await renaming.execute('create table t (id integer primary key, first_name text not null)')
    await renaming.executeMany(renaming.table('t'), [
      { id: 1, firstName: 'b' },
      { id: 2, firstName: 'a' },
    ])
    const first = await keyset(renaming, renaming.table('t'), { orderBy: ['firstName', 'id'], limit: 1 })
    expect(first.rows).toEqual([{ id: 2, firstName: 'a' }])
    const second = await keyset(renaming, renaming.table('t'), {
      orderBy: ['firstName', 'id'],
      limit: 1,
      after: first.next,
    })
    expect(second).toEqual({ rows: [{ id: 1, firstName: 'b' }], next: null })
  })

  it('refuses an order that is not unique, and a NULL that nobody has placed, when it meets them', async () => {
    await database.execute('create table t (id integer primary key, n integer, m integer not null)')
    await database.executeMany('insert into t values (:id, :n, 7)', [
      { id: 1, n: 1 },
      { id: 2, n: null },
      { id: 3, n: 3 },
    ])
    const equal = await failure(keyset(database, database.table('t'), { orderBy: ['m'], limit: 1 }))
    expect(equal).toBeInstanceOf(ConfigurationError)
    expect(equal.message).toMatch(/equal in m.*unique/s)
    for (const orderBy of [
      ['n', 'id'],
      [{ column: 'n', order: 'desc' as const }, 'id'],
      ['m', 'n', 'id'],
    ]) {
      const error = await failure(keyset(database, database.table('t'), { orderBy, limit: 5 }))
      expect(error).toBeInstanceOf(ConfigurationError)
      expect(error.message).toMatch(/'n' is NULL.*nulls: 'last'/s)
    }
  })

  it.each<[string, object]>([
    ['no order', { limit: 1 }],
    ['an empty order', { orderBy: [], limit: 1 }],
    ['a direction that is none', { orderBy: [{ column: 'id', order: 'up' }], limit: 1 }],
    ['a place of NULLs that is none', { orderBy: [{ column: 'id', nulls: 'middle' }], limit: 1 }],
    ['no limit', { orderBy: ['id'] }],
    ['a limit of 0', { orderBy: ['id'], limit: 0 }],
    ['a limit that is a text', { orderBy: ['id'], limit: '5' }],
    ['too many values', { orderBy: ['id'], limit: 1, after: [1, 2] }],
    ['NULL in place of a value', { orderBy: ['id'], limit: 1, after: [null] }],
    ['an unknown option', { orderBy: ['id'], limit: 1, before: 'x' }],
  ])('refuses %s as the mistake of the program', async (_what, options) => {
    const error = await failure(keyset(database, database.table('t'), options as KeysetOptions))
    expect(error).toBeInstanceOf(ConfigurationError)
  })

  it('refuses what is no builder of a SELECT of a Database', async () => {
    const { knex: plainKnex } = await import('knex')
    const plain = plainKnex({ client: isPostgres ? 'pg' : 'sqlite3', useNullAsDefault: true })
    for (const builder of [
      database.table('t').insert({ id: 1 }),
      database.table('t').delete(),
      plain('t'),
      'select 1',
    ])
      expect(
        await failure(keyset(database, builder as Knex.QueryBuilder, { orderBy: ['id'], limit: 1 })),
      ).toBeInstanceOf(ConfigurationError)
    await plain.destroy()
  })

  it('refuses a cursor of another order, a forged one, and what is none, and never runs what it says', async () => {
    await database.execute('create table t (id integer primary key, n integer not null, s text not null)')
    await database.executeMany(
      'insert into t values (:id, :id, :id)',
      [1, 2, 3].map((id) => ({ id })),
    )
    const page = (options: Partial<KeysetOptions>): Promise<KeysetPage<Row>> =>
      keyset(database, database.table('t'), { orderBy: ['n', 'id'], limit: 1, ...options })
    const { next } = await page({})
    expect(next).toMatch(/^[\w-]+$/)
    const [name, ...texts] = JSON.parse(Buffer.from(next ?? '', 'base64url').toString()) as string[]
    const forged = (...parts: unknown[]): string => Buffer.from(JSON.stringify(parts)).toString('base64url')
    expect(forged(name, ...texts)).toBe(next)
    const cursors = [
      '',
      'x',
      '1',
      '\0',
      '%',
      next?.slice(1) ?? '',
      `${next}x`.repeat(2),
      forged(),
      forged(null),
      forged(name),
      forged(name, ...texts, '1'),
      forged(name, texts[0]),
      forged(name, null, texts[1]),
      forged(name, 1, 2),
      forged(name, { a: 1 }, []),
      forged('id asc', ...texts),
      Buffer.from('{"0": 1}').toString('base64url'),
      ...(isPostgres
        ? [
            forged(name, '1; drop table t', '1'),
            forged(name, '1.5', '1'),
            forged(name, '99999999999', '1'),
            forged(name, '1\0', '1'),
          ]
        : [
            forged(name, '1; drop table t', '1'),
            forged(name, '99999999999999999999', '1'),
            forged(name, "X'0'", '1'),
            forged(name, 'NULL', '1'),
          ]),
    ]
    for (const after of cursors) {
      const error = await failure(page({ after }))
      expect([after, error]).toEqual([after, expect.any(CursorError)])
      expect(error).toMatchObject({ code: 'CURSOR_INVALID', retryable: false })
    }
    for (const orderBy of [
      ['id', 'n'],
      ['n', { column: 'id', order: 'desc' as const }],
      ['n'],
      [{ column: 'n', nulls: 'last' as const }, 'id'],
    ])
      expect(await failure(page({ orderBy, after: next }))).toBeInstanceOf(CursorError)
    // Whatever a forged cursor says is a value.
    const text = { orderBy: ['s', 'id'] }
    const first = await page(text)
    const [textName] = JSON.parse(Buffer.from(first.next ?? '', 'base64url').toString()) as string[]
    const hostile = forged(textName, `${isPostgres ? '' : 't'}' or 1 = 1 --`, '1')
    expect((await page({ ...text, after: hostile })).rows).toHaveLength(1)
    expect(await database.fetchVal('select count(*) from t')).toEqual(isPostgres ? '3' : 3)
  })

  it('is read off an index, in one direction by a comparison of rows', async () => {
    await database.execute('create table t (id integer primary key, n integer not null, s text not null)')
    await database.execute('create index t_n_id on t (n, id)')
    await database.execute('create index t_n_s on t (n, s desc, id)')
    await database.executeMany(
      'insert into t values (:id, :n, :s)',
      Array.from({ length: 2000 }, (_, id) => ({ id, n: id % 50, s: `s${id}` })),
    )
    await database.execute('analyze')
    const sqls: string[] = []
    database.on('query', ({ sql }) => sqls.push(sql))
    const planOf = async (orderBy: readonly (string | Ordered)[], after: unknown[]): Promise<string> => {
      sqls.length = 0
      await keyset(database, database.table('t').select('id'), { orderBy, limit: 10, after })
      const text = sqls[0]?.replace(/\$(\d+)|\?/g, () => "'10'") ?? ''
      const rows = await database.fetchAll(`${isPostgres ? 'explain' : 'explain query plan'} ${text}`)
      return rows.map((row) => String(row['detail'] ?? Object.values(row)[0])).join('; ')
    }
    for (const direction of ['asc', 'desc'] as const) {
      const plan = await planOf(
        ['n', 'id'].map((column) => ({ column, order: direction })),
        [10, 10],
      )
      expect(plan).toMatch(/t_n_id/)
      expect(plan).not.toMatch(/Seq Scan|SCAN |TEMP B-TREE|Sort/)
    }
    const mixed = await planOf(['n', { column: 's', order: 'desc' }, 'id'], [10, '10', 10])
    // Begins at the first column's value, and does not read what comes before it.
    expect(mixed).toMatch(/t_n_s(?: \(n>\?|.*Index Cond: \(n >= 10\))/)
    expect(mixed).not.toMatch(/Seq Scan|SCAN |TEMP B-TREE|Sort/)
  })
})
