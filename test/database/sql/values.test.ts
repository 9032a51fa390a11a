/** Bound values: which are refused, how lists expand, and how unusual values are bound. */
import { BindError, type Database, type DatabaseOptions, json, QueryError, sql } from '../../../src/database'
import { failure, idsOf } from '../support'
import { eachDatabase } from '../../support/each-database'

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
    it('are refused with the name of a missing one', async () => {
      const error = await failure(database.fetchAll('select :a, :b', { a: 1 }))
      expect(error).toBeInstanceOf(BindError)
      expect(error).toMatchObject({ code: 'BIND_INVALID', sql: 'select :a, :b', retryable: false })
      expect(error.message).toMatch(/it needs :b,/)
      await expect(database.fetchAll('select :a, :b')).rejects.toThrow(/needs :a, :b/)
    })

    it('are refused with the name of a superfluous one', async () => {
      await expect(database.fetchAll('select :a', { a: 1, c: 2 })).rejects.toThrow(/no :c/)
      await expect(database.fetchAll('select 1', { a: 1 })).rejects.toThrow(BindError)
    })

    it('are refused when one is undefined, and no value is shown', async () => {
      const error = await failure(database.fetchAll('select :a, :b', { a: 'secret-value', b: undefined }))
      expect(error.message).toMatch(/:b is undefined.*null/)
      expect(error.message).not.toContain('secret-value')
    })

    it('are not read from the prototype', async () => {
      await expect(database.fetchAll('select :toString')).rejects.toThrow(/needs :toString/)
      const inherited = Object.create({ a: 1 }) as Record<string, unknown>
      await expect(database.fetchAll('select :a', inherited)).rejects.toThrow(/needs :a/)
    })

    it('are refused as an array', async () => {
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

    it('are stored as JSON when marked by json()', async () => {
      await database.execute('insert into t values (1, :doc)', { doc: json({ a: ["it's"] }) })
      expect(await database.fetchVal('select name from t')).toBe(`{"a":["it's"]}`)
    })
  })

  // pg would send `{}`, which PostgreSQL reads as an object there.
  it('that are arrays are refused for a JSON column, empty ones too', async () => {
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
    it('that are empty arrays are bound to arrays of any type', async () => {
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

  it('are given once for a name that occurs twice', async () => {
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

  it('that are BigInts are stored exactly', async () => {
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

    it('expand to one placeholder for each value', async () => {
      expect(await count('id in (:ids)', { ids: [1, 3, 99] })).toBe(2)
      expect(await count('name in (:names)', { names: ['n2', "it's", '{},"'] })).toBe(1)
      expect(await count('id not in (:ids)', { ids: [1] })).toBe(2)
      expect(await count('id IN ( :ids ) and name not  in (:names)', { ids: [1, 2], names: ['n1'] })).toBe(1)
    })

    it('may be empty: IN matches nothing, NOT IN everything', async () => {
      expect(await count('id in (:ids)', { ids: [] })).toBe(0)
      expect(await count('id not in (:ids)', { ids: [] })).toBe(3)
      expect(await count('id in (:ids) or id = :one', { ids: [], one: 1 })).toBe(1)
    })

    it('may be a single value instead of an array', async () => {
      expect(await count('id in (:id)', { id: 2 })).toBe(1)
      expect(await count('id in (:a, :b)', { a: 2, b: 3 })).toBe(2)
    })

    it('may be the same list twice', async () => {
      expect(await count('id in (:ids) or id + 1 in (:ids)', { ids: [3] })).toBe(2)
    })

    it("follow SQL's rules for NULL", async () => {
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
})

eachDatabase('a value', (context) => {
  const open = (options: DatabaseOptions = {}): Promise<Database> =>
    context.open({ pool: { size: 1, maxOverflow: 0 }, ...options })

  it('that is a BigInt is compared as a number', async () => {
    const database = await open()
    expect(await database.fetchVal('select case when 5 = :n then 1 else 0 end', { n: 5n })).toBe(1)
    expect(
      await database.fetchVal('select cast(cast(:n as bigint) - 1 as text)', { n: 9_007_199_254_740_993n }),
    ).toBe('9007199254740992')
  })

  it('that is a list may be longer than the number of placeholders allows', async () => {
    const database = await open()
    const ids = Array.from({ length: 40_000 }, (_, id) => id)
    const count = await database.fetchVal('select count(*) from (select 7 as id) as s where id in (:ids)', {
      ids,
    })
    expect(Number(count)).toBe(1)
  })

  it('that is an array of arrays is refused inside IN ()', async () => {
    const database = await context.open()
    const error = await failure(database.fetchAll('select 1 where 1 in (:ids)', { ids: [[1], [2]] }))
    expect(error).toBeInstanceOf(BindError)
    expect(error.message).toMatch(/:ids .*(flat list|array)/)
  })

  it('that is an invalid Date is refused', async () => {
    const database = await context.open()
    const error = await failure(database.fetchVal('select :at', { at: new Date(Number.NaN) }))
    expect(error).toBeInstanceOf(BindError)
    expect(error.message).toBe('The value of :at is an invalid Date.')
  })

  it('that is marked by json() is JSON inside another document and inside an array', async () => {
    const database = await context.open()
    await database.execute('create table notes (doc json)')
    const parts = { list: [1], of: { n: 1 } }
    const doc = { list: json([1]), of: json({ n: 1 }) }
    await database.execute('insert into notes values (:doc)', { doc: json(doc) })
    await database.execute(database.table('notes').insert({ doc }))
    await database.executeMany(database.table('notes'), [{ doc }])
    await database.table('notes').insert({ doc })
    await expect(database.table('notes')).resolves.toEqual(Array.from({ length: 4 }, () => ({ doc: parts })))
    await database.execute('drop table notes')
    if (context.dialect === 'sqlite') return
    await database.execute('create table lists (docs jsonb[])')
    const docs = [json({ "it's": ['"', '\\'] }), json([]), null]
    await database.execute('insert into lists values (:docs)', { docs })
    await database.execute(database.table('lists').insert({ docs }))
    await database.executeMany(database.table('lists'), [{ docs }])
    await database.executeMany(
      database.table('lists'),
      Array.from({ length: 2000 }, () => ({ docs })),
    )
    await database.table('lists').insert({ docs })
    await database.knex.raw('insert into lists values (?)', [docs as unknown as string[]])
    await expect(database.fetchAll('select distinct docs from lists')).resolves.toEqual([
      { docs: [{ "it's": ['"', '\\'] }, [], null] },
    ])
  })

  it('that is a view of memory is bound as the bytes of the view', async () => {
    const database = await context.open()
    const memory = new Uint8Array([1, 2, 3, 4]).buffer
    const query = context.dialect === 'sqlite' ? 'select :bytes' : 'select cast(:bytes as bytea)'
    for (const bytes of [new DataView(memory, 1, 2), new Uint8Array(memory, 1, 2), Buffer.from([2, 3])]) {
      expect(await database.fetchVal(query, { bytes })).toEqual(Buffer.from([2, 3]))
    }
    if (context.dialect === 'postgresql') return
    const view = new DataView(memory, 1, 2)
    expect(await database.fetchVal(database.knex.raw('select ?', [view as never]))).toEqual(
      Buffer.from([2, 3]),
    )
  })

  it('may be a list of any length in SQL text, but not in a builder', async () => {
    const database = await context.open({ pool: { size: 1, maxOverflow: 0 } })
    const ids = Array.from({ length: 70_000 }, (_, n) => n)
    expect(await database.fetchVal('select 1 where 1 in (:ids)', { ids })).toBe(1)
    const { knex } = database
    const error = await failure(database.fetchAll(knex('none').whereIn('id', ids)))
    expect(error).toBeInstanceOf(QueryError)
    expect(error.message).toMatch(/too many SQL variables|70000 values, .*65535/)
    expect(await database.fetchVal('select 1')).toBe(1)
    expect(database.stats().created).toBe(1)
  })

  if (context.dialect === 'sqlite') {
    it('in a list of any length compares like a single value', async () => {
      const database = await context.open()
      const query = "select a, i, n from (select '7' as a) join (select 7 as i) join (select '7' as n)"
      const few = [7, 8]
      const many = [...few, ...Array.from({ length: 2000 }, (_, index) => index + 100)]
      for (const column of ['cast(a as text)', 'cast(i as integer)', 'n', 'a collate nocase'])
        for (const ids of [few, many, few.map(String), many.map(String)]) {
          const alone = await database.fetchAll(`${query} where ${column} = :id`, { id: ids[0] })
          expect(await database.fetchAll(`${query} where ${column} in (:ids)`, { ids })).toEqual(alone)
        }
    })

    it('at the limits of 64 bits is bound as an integer', async () => {
      const database = await context.open()
      for (const value of [-(2 ** 63), -(2n ** 63n), 2n ** 63n - 1n, 2 ** 62]) {
        expect(await database.fetchVal('select typeof(:value)', { value })).toBe('integer')
        expect(await database.fetchVal("select :value || ''", { value })).toBe(String(BigInt(value)))
      }
      for (const value of [2n ** 63n, 2 ** 63, -(2n ** 63n) - 1n])
        expect(await failure(database.fetchVal('select :value', { value }))).toBeInstanceOf(BindError)
      expect(await database.fetchVal('select typeof(:value)', { value: 2 ** 64 })).toBe('real')
    })
  }

  if (context.dialect === 'postgresql') {
    it('may be an array of several dimensions, or of documents', async () => {
      const database = await context.open()
      const grid = [[1, 2], [3, 4]] // prettier-ignore
      expect(await database.fetchVal('select cast(:grid as integer[][])', { grid })).toEqual(grid)
      const documents = [json({ a: 1 }), json([2])]
      expect(await database.fetchVal('select cast(:documents as jsonb[])', { documents })).toEqual([
        { a: 1 },
        [2],
      ])
      const mixed = await failure(
        database.fetchVal('select cast(:grid as integer[][])', { grid: [[{ a: 1 }]] }),
      )
      expect(mixed).toBeInstanceOf(BindError)
    })
  }
})

eachDatabase('values', (context) => {
  let database: Database

  beforeEach(async () => {
    database = await context.open({ pool: { size: 1, maxOverflow: 0 } })
    await database.execute('create table t (id integer primary key, name text)')
  })
  afterEach(async () => {
    await context.admin('drop table t')
  })

  it('are refused when one is missing, and nothing is stored', async () => {
    const insert = 'insert into t values (:id, :name)'
    await expect(database.execute(insert, { id: 1 })).rejects.toThrow(BindError)
    await expect(database.executeMany(insert, [{ id: 1, name: 'x' }, { id: 2 }])).rejects.toThrow(BindError)
    expect(await idsOf(database)).toEqual([])
  })

  it('may be lists, in text and in templates', async () => {
    await database.execute("insert into t values (1, 'x'), (2, 'y'), (3, 'z')")
    const ids = [1, 3]
    expect(await database.fetchAll('select id from t where id in (:ids) order by id', { ids })).toHaveLength(
      2,
    )
    expect(await database.fetchAll(sql`select id from t where id in (${ids})`)).toHaveLength(2)
  })

  it('that are numbers can be stored in a text column', async () => {
    await database.execute('insert into t values (1, :name)', { name: 5 })
    expect(await database.fetchVal('select name from t')).toBe('5')
  })
})
