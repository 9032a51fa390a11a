/** iterate() gives the rows of fetchAll(), though SQLite's drivers read streams in batches or by single steps. */
import type { Database } from '../../../src/database'
import { eachDatabase } from '../../support/each-database'
import { all } from '../support'

const LONG = 'ä'.repeat(200)

eachDatabase('a stream', (context) => {
  const type = context.dialect === 'sqlite' ? '' : 'integer'
  let database: Database

  beforeEach(async () => {
    database = await context.open()
    await database.execute(`create table things (id integer primary key, x ${type}, flag boolean, doc json)`)
  })

  afterEach(() => context.admin('drop table if exists things'))

  const streamed = (query: string, batchSize?: number): Promise<unknown[]> =>
    all(database.iterate(query, {}, batchSize === undefined ? {} : { batchSize }))
  /** Rows that are read at once. */
  const fetched = (query: string): Promise<unknown[]> => database.fetchAll(query)

  it.each([1, 63, 64, 65, 256, 257, 4999, 5000, 5001])('gives all of %i rows', async (count) => {
    await database.executeMany(
      'insert into things (id, x) values (:id, :x)',
      Array.from({ length: count }, (_, x) => ({ id: x + 1, x })),
    )
    const query = 'select * from things order by id'
    for (const batchSize of [undefined, 7, 64, 1000]) {
      expect(await streamed(query, batchSize)).toEqual(await fetched(query))
    }
  })

  // The tests below are about SQLite's storage classes; other tests cover PostgreSQL.
  if (context.dialect !== 'sqlite') return

  it('gives each value as it was computed, once', async () => {
    await database.executeMany(
      'insert into things (id) values (:id)',
      Array.from({ length: 3000 }, (_, index) => ({ id: index + 1 })),
    )
    const rows = (await streamed(
      `select id, random() % 1000000 as place, nullif(random() % 2, 0) as half,
         iif(random() > 0, 'text', x'00') as whole
       from things order by place`,
    )) as { id: number; place: number; half: number | null; whole: unknown }[]
    expect(new Set(rows.map(({ id }) => id)).size).toBe(3000)
    expect(rows.every(({ whole }) => whole !== null)).toBe(true)
    const places = rows.map(({ place }) => place)
    expect(places).toEqual(places.toSorted((one, other) => one - other))
    const halves = rows.filter(({ half }) => half === null).length
    expect(halves).toBeGreaterThan(1000)
    expect(halves).toBeLessThan(2000)
  })

  it('gives values of every kind', async () => {
    const texts = [
      '',
      '🐟',
      LONG,
      LONG + LONG,
      LONG.repeat(50),
      'it\'s "quoted"\\',
      'a\0b',
      '\n\t',
      '{"a":1}',
    ]
    const bytes = [Buffer.from([0, 255]), Buffer.alloc(0)]
    const reals = [0.1, -0.0, 1e308, 5e-324, 1 / 3, Infinity, -Infinity]
    const numbers = [null, 0, -1, 2 ** 31, Number.MAX_SAFE_INTEGER, ...reals]
    const large = [2432876476717600300, 2 ** 60, 9007199254740993n, -9223372036854775808n]
    // The driver sqlite3 refuses to read what it may have rounded.
    const values = [...texts, ...bytes, ...numbers, ...(context.driver === 'sqlite3' ? [] : large)]
    const rows = Array.from({ length: 500 }, (_, index) => {
      const x = values[(index * 7 + Math.floor(index / 50)) % values.length]
      return {
        x,
        flag: [true, false, null][index % 3],
        doc: index % 5 === 0 ? null : JSON.stringify({ index }),
      }
    })
    for (const row of rows)
      await database.execute('insert into things (x, flag, doc) values (:x, :flag, :doc)', row)
    const queries = [
      'select * from things',
      'select * from things order by id desc',
      'select x, x as again, flag, id as "10", doc from things',
      "select x from things where typeof(x) in ('blob', 'real') order by id",
    ]
    for (const batchSize of [undefined, 6, 100]) {
      for (const query of queries) expect(await streamed(query, batchSize)).toEqual(await fetched(query))
    }
  })

  it('gives exact numbers', async () => {
    const bytes = new DataView(new ArrayBuffer(8))
    const rows = Array.from({ length: 5000 }, (_, index) => {
      for (let at = 0; at < 8; at += 1)
        bytes.setUint8(at, (index * 2654435761 + at * 40503 + index ** 3) >>> (at * 3))
      const any = bytes.getFloat64(0)
      return { x: Number.isNaN(any) ? index / 7 : index % 2 === 0 ? any : (index * 1.1) / 100 }
    })
    await database.executeMany('insert into things (x) values (:x)', rows)
    const read = await all(database.iterate<{ x: number }>('select x from things'))
    expect(read.every(({ x }, index) => Object.is(x, rows[index]?.x))).toBe(true)
  })

  it("keeps texts of SQLite's JSON functions as texts", async () => {
    await database.execute(`insert into things (x) values ('[1]'), ('[2]')`)
    const query = `select json(x) as a, json_array(id) as b, json_object('id', id) as c from things`
    expect(await streamed(query)).toEqual(await fetched(query))
  })

  it('reads invalid UTF-8 as fetchAll() does', async () => {
    const texts = ['e282', '61e28262ff', 'f09f', '80', 'eda080', '00', '5c75']
    const query = texts.map((hex) => `select cast(x'${hex}' as text) as x`).join(' union all ')
    expect(await streamed(query)).toEqual(await fetched(query))
  })

  it('keeps the order of its query', async () => {
    const rows = Array.from({ length: 1000 }, (_, index) => ({ x: (index * 7919) % 100 }))
    await database.executeMany('insert into things (x) values (:x)', rows)
    const wide = `case when id % 10 = 0 then zeroblob(10) else x end as x`
    const queries = [
      `select id, ${wide} from things order by x desc, id`,
      `select id, ${wide} from things order by x, id desc limit 500 offset 20`,
      'select x from things where id < 300 union select x + 1 from things order by 1 desc',
      'with t as (select * from things order by x, id desc) select id from t limit 130',
      'values (1, 2), (3, 4)',
    ]
    for (const query of queries) expect(await streamed(query)).toEqual(await fetched(query))
  })

  it('begins though its query never ends', async () => {
    const numbers = 'with recursive c (n) as (select 1 union all select n + 1 from c) select n from c'
    let count = 0
    for await (const _ of database.iterate(numbers)) if ((count += 1) === 1000) break
    expect(count).toBe(1000)
  })

  it('accepts queries with very many columns', async () => {
    const columns = Array.from({ length: 1500 }, (_, index) => `${index} as c${index}`)
    const query = `select ${columns.join(', ')}`
    expect(await streamed(query)).toEqual(await fetched(query))
  })
})
