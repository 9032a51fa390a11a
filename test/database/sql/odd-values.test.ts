/** Values at the edges: arrays in arrays, documents in arrays, views of memory, moments that are none. */
import { BindError, ConfigurationError, json, QueryError, runInScope } from '../../../src/database'
import { Limits } from '../../../src/database/context/limits'
import { eachDatabase } from '../../support/each-database'
import { failure } from '../support'

eachDatabase('a value', (context) => {
  it('that is an array of arrays is refused inside of IN (…)', async () => {
    const database = await context.open()
    const error = await failure(database.fetchAll('select 1 where 1 in (:ids)', { ids: [[1], [2]] }))
    expect(error).toBeInstanceOf(BindError)
    expect(error.message).toMatch(/:ids .*(flat list|array)/)
  })

  it('that is no moment in time is refused, though it is a Date', async () => {
    const database = await context.open()
    const error = await failure(database.fetchVal('select :at', { at: new Date(Number.NaN) }))
    expect(error).toBeInstanceOf(BindError)
    expect(error.message).toBe('The value of :at is an invalid Date.')
  })

  it('that is said to be a document is one in another document, and in an array', async () => {
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

  it('that is a view of memory is bound as the bytes that it shows', async () => {
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

  it('one of many in a list is no matter of their number, but a builder binds each of its own', async () => {
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
    it('in a list of any length is compared as one by itself', async () => {
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

    it('at the end of 64 bits is an integer, as a number too', async () => {
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

describe('runInScope', () => {
  it('refuses a scope that could not be honoured', () => {
    const wrong: [unknown, RegExp][] = [
      [{ deadline: Number.NaN }, /deadline .* got NaN/],
      [{ deadline: '5' }, /deadline .* got '5'/],
      [{ deadline: new Date() }, /deadline .* performance\.now\(\)/],
      [{ timeoutMillis: 5 }, /no 'timeoutMillis'.*label, signal, deadline/],
      [null, /scope is an object, got null/],
    ]
    for (const [scope, message] of wrong) {
      const run = (): unknown => runInScope(scope as never, () => 'ran')
      expect(run).toThrow(ConfigurationError)
      expect(run).toThrow(message)
    }
    const scope = { signal: {} } as never // Asked for late, since making one costs something.
    expect(() => runInScope(scope, () => Limits.of(undefined, ''))).toThrow(
      new ConfigurationError('signal is an AbortSignal, got {}.'),
    )
    expect(runInScope({ deadline: Infinity, signal: undefined, label: undefined }, () => 'ran')).toBe('ran')
  })
})
