/** Values: what is bound, what is refused, and how lists and many rows of them arrive. */
import {
  BindError,
  ConfigurationError,
  type Database,
  json,
  QueryError,
  UniqueViolationError,
} from '../../../src/database'
import { eachDatabase } from '../../support/each-database'
import { failure, idsOf, undone } from '../support'

eachDatabase('values', (context) => {
  let database: Database

  beforeEach(async () => {
    database = await context.open({ pool: { size: 1, maxOverflow: 0 } })
    await database.execute('create table t (id bigint primary key, name text)')
  })
  afterEach(async () => {
    await context.admin('drop table t')
  })

  describe('that do not match the statement', () => {
    it('are refused by name when one is missing', async () => {
      const error = await failure(database.fetchAll('select :a, :b', { a: 1 }))
      expect(error).toBeInstanceOf(BindError)
      expect(error).toMatchObject({ code: 'BIND_INVALID', sql: 'select :a, :b', retryable: false })
      expect(error.message).toMatch(/it needs :b,/)
      await expect(database.fetchAll('select :a, :b')).rejects.toThrow(/needs :a, :b/)
    })

    it('are refused by name when there is one too many', async () => {
      await expect(database.fetchAll('select :a', { a: 1, c: 2 })).rejects.toThrow(/no :c/)
      await expect(database.fetchAll('select 1', { a: 1 })).rejects.toThrow(BindError)
    })

    it('are refused when undefined, and the text of a value is never shown', async () => {
      const error = await failure(database.fetchAll('select :a, :b', { a: 'secret-value', b: undefined }))
      expect(error.message).toMatch(/:b is undefined.*null/)
      expect(error.message).not.toContain('secret-value')
    })

    it('are not looked for in the prototype', async () => {
      await expect(database.fetchAll('select :toString')).rejects.toThrow(/needs :toString/)
      const inherited = Object.create({ a: 1 }) as Record<string, unknown>
      await expect(database.fetchAll('select :a', inherited)).rejects.toThrow(/needs :a/)
    })

    it('are refused as an array of positions', async () => {
      await expect(database.fetchAll('select :a', [1] as unknown as { a: number })).rejects.toThrow(/array/) // as from JavaScript
    })
  })

  describe('of a kind that no column stores', () => {
    it.each([
      ['an object', { a: 1 }],
      ['an operator in an object', { $gt: '' }],
      ['a map', new Map()],
      ['a function', () => 1],
      ['a symbol', Symbol('s')],
    ])('are refused: %s', async (_, value) => {
      const error = await failure(database.fetchAll('select * from t where name = :a', { a: value }))
      expect(error).toBeInstanceOf(BindError)
      expect(error.message).toContain(':a is a')
    })

    it('are taken as a document when marked so', async () => {
      await database.execute('insert into t values (1, :doc)', { doc: json({ a: ["it's"] }) })
      expect(await database.fetchVal('select name from t')).toBe(`{"a":["it's"]}`)
    })
  })

  // By pg it would be `{}`, which PostgreSQL reads as an object there.
  it('that are an empty array are refused as a document, as all other arrays are', async () => {
    const insert = 'insert into notes (doc) values (:doc)'
    for (const preparedStatements of [true, false]) {
      const asked = await context.open({ preparedStatements })
      await asked.execute('create table notes (doc json, tags text)')
      for (const doc of [[], ['a']]) {
        for (const work of [
          () => asked.execute(insert, { doc }),
          () => asked.executeMany(insert, [{ doc }]),
          () =>
            asked.executeMany(
              insert,
              Array.from({ length: 2000 }, () => ({ doc })),
            ),
        ])
          expect(await failure(work())).toBeInstanceOf(QueryError)
        // SQLite has no arrays that it could be taken for.
        if (context.dialect === 'sqlite') continue
        expect(await failure(asked.execute(asked.table('notes').insert({ doc })))).toBeInstanceOf(QueryError)
        expect(await failure(asked.table('notes').insert({ doc }))).toBeInstanceOf(QueryError)
      }
      await asked.execute(insert, { doc: json([]) })
      await expect(asked.fetchAll('select doc from notes')).resolves.toEqual([{ doc: [] }])
      await asked.execute('drop table notes')
    }
  })

  if (context.dialect === 'postgresql') {
    it('that are an empty array are an array of any type', async () => {
      for (const preparedStatements of [true, false]) {
        const asked = await context.open({ preparedStatements })
        const none: string[] = []
        for (const type of ['integer', 'text', 'timestamptz', 'jsonb', 'box', 'int4range'])
          await expect(asked.fetchVal(`select :none::${type}[]`, { none })).resolves.toEqual([])
        await expect(asked.knex.raw('select cardinality(?::text[]) as n', [none])).resolves.toMatchObject({
          rows: [{ n: 0 }],
        })
      }
    })
  }

  it('that occur twice in the text are given once', async () => {
    await database.execute('insert into t (id, name) values (:id, :name)', { id: 5, name: 'x' })
    const query = 'select id from t where name = :name or (name <> :name and id = :id) or name = :name'
    expect(await database.fetchAll(query, { id: 5, name: 'x' })).toHaveLength(1)
  })

  it('keep quotes, colons, backslashes, line breaks and emoji', async () => {
    for (const [id, name] of ["'", '"', ':a', '\\', 'a\nb', '$1 ?1', '🦆', ''].entries()) {
      await database.execute('insert into t values (:id, :name)', { id, name })
      expect(await database.fetchVal('select name from t where id = :id', { id })).toBe(name)
    }
  })

  it('that are BigInt are stored exactly', async () => {
    await database.execute('insert into t (id) values (:id)', { id: 9_007_199_254_740_993n })
    expect(await database.fetchVal('select cast(id as text) from t')).toBe('9007199254740993')
    expect(
      await database
        .fetchVal('select count(*) from t where id = :id', { id: 9_007_199_254_740_992n })
        .then(Number),
    ).toBe(0)
    expect(
      await database
        .fetchVal('select count(*) from t where id in (:ids)', { ids: [9_007_199_254_740_993n] })
        .then(Number),
    ).toBe(1)
  })

  describe('in a list', () => {
    beforeEach(async () => {
      await database.executeMany(
        'insert into t values (:id, :name)',
        [1, 2, 3].map((id) => ({ id, name: `n${id}` })),
      )
    })
    const count = async (where: string, values: Record<string, unknown>): Promise<number> =>
      Number(await database.fetchVal(`select count(*) from t where ${where}`, values))

    it('are looked for one by one', async () => {
      expect(await count('id in (:ids)', { ids: [1, 3, 99] })).toBe(2)
      expect(await count('name in (:names)', { names: ['n2', "it's", '{},"'] })).toBe(1)
      expect(await count('id not in (:ids)', { ids: [1] })).toBe(2)
      expect(await count('id IN ( :ids ) and name not  in (:names)', { ids: [1, 2], names: ['n1'] })).toBe(1)
    })

    it('may be none: then nothing is in it, and all is outside of it', async () => {
      expect(await count('id in (:ids)', { ids: [] })).toBe(0)
      expect(await count('id not in (:ids)', { ids: [] })).toBe(3)
      expect(await count('id in (:ids) or id = :one', { ids: [], one: 1 })).toBe(1)
    })

    it('may be one that is no array', async () => {
      expect(await count('id in (:id)', { id: 2 })).toBe(1)
      expect(await count('id in (:a, :b)', { a: 2, b: 3 })).toBe(2)
    })

    it('may be the same list twice', async () => {
      expect(await count('id in (:ids) or id + 1 in (:ids)', { ids: [3] })).toBe(2)
    })

    it('follow the rules of NULL', async () => {
      expect(await count('id in (:ids)', { ids: [1, null] })).toBe(1)
      expect(await count('id not in (:ids)', { ids: [1, null] })).toBe(0)
    })

    it('are refused when one of them is undefined or an object', async () => {
      await expect(count('id in (:ids)', { ids: [1, undefined] })).rejects.toThrow(BindError)
      await expect(count('id in (:ids)', { ids: [{ id: 1 }] })).rejects.toThrow(BindError)
    })

    it('may be a thousand', async () => {
      expect(await count('id in (:ids)', { ids: Array.from({ length: 1000 }, (_, i) => i) })).toBe(3)
    })
  })

  describe('for executeMany', () => {
    it('are inserted each by each, and counted', async () => {
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

    it('come from an async generator as they are made', async () => {
      let made = 0
      async function* rows(): AsyncGenerator<{ id: number }> {
        for (; made < 350; made += 1) yield { id: made }
      }
      expect(await database.executeMany(database.table('t'), rows())).toEqual({ rowCount: 350 })
      made = 1000
      expect(await database.executeMany('insert into t (id) values (:id)', rows())).toEqual({ rowCount: 0 })
    })

    it('are stored all or none: when one breaks a rule', async () => {
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

    it('are stored all or none: when their generator fails, which is then closed', async () => {
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
      await expect(database.executeMany('insert into t (id) values (:id)', failing)).rejects.toThrow(
        'no more',
      )
      expect(await idsOf(database)).toEqual([])
    })

    it('join the transaction that is open', async () => {
      await undone(
        database.transaction(async () => {
          await database.executeMany('insert into t (id) values (:id)', [{ id: 1 }])
          throw new Error('out')
        }),
      )
      expect(await idsOf(database)).toEqual([])
    })

    it('go with SQL or a bare table only', async () => {
      await expect(database.executeMany(database.knex.raw('select 1'), [{ id: 1 }])).rejects.toThrow(
        ConfigurationError,
      )
    })
  })
})
