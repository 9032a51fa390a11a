/** The JavaScript value of each column type, in two time zones. A process keeps the time zone that it started with. */
import { execFile } from 'node:child_process'
import path from 'node:path'
import { promisify } from 'node:util'
import type { Client } from 'pg'
import { type Database, json } from '../../../src/database'
import { all, runScript, valueOrMessage } from '../support'
import { toRun } from '../../support/compiled'
import { eachDatabase } from '../../support/each-database'
import { randomFrom } from '../../support/random-from'
import { startProxy } from '../../support/tcp-proxy'
import { typeRows } from '../../support/type-table'

const TABLE = path.resolve(__dirname, '../../support/type-table.ts')

eachDatabase('a column', (context) => {
  describe.each([
    ['America/New_York', 300],
    ['Asia/Kolkata', -330],
  ])('in %s', (zone, offset) => {
    let found: unknown[]

    beforeAll(async () => {
      const args = [...toRun(TABLE), context.url]
      const { stdout } = await promisify(execFile)(process.execPath, args, {
        env: { ...process.env, TZ: zone },
      })
      const printed = JSON.parse(stdout) as { offset: number; found: unknown[] }
      expect(printed.offset).toBe(offset)
      found = printed.found
    })

    it.each(typeRows(context.dialect, context.driver).map((row, index) => ({ ...row, index })))(
      'of type $type gives back $value',
      (row) => {
        expect(found[row.index]).toEqual(row[context.dialect])
      },
    )
  })
})

eachDatabase('column types', (context) => {
  const isSqlite = context.dialect === 'sqlite'
  let database: Database

  beforeEach(async () => {
    database = await context.open({ pool: { size: 1, maxOverflow: 0 } })
  })
  /** The value that a column of a type gives back, which must be the same by every query method. */
  const roundTrip = async (type: string, value: unknown): Promise<unknown> => {
    await database.execute('drop table if exists typed')
    await database.execute(`create table typed (id integer primary key, x ${type})`)
    await database.execute('insert into typed values (1, :value)', { value })
    const row = await database.fetchOne<{ x: unknown }>('select x from typed')
    expect(await database.fetchVal('select x from typed')).toEqual(row?.x)
    expect(await database.fetchAll(database.table('typed').select('x'))).toEqual([row])
    expect(await database.table('typed').first('x')).toEqual(row)
    expect(await all(database.iterate('select x from typed'))).toEqual([row])
    expect(await database.fetchVal('update typed set id = 2 returning x')).toEqual(row?.x)
    return row?.x
  }

  it('of boolean give true and false', async () => {
    expect(await roundTrip('boolean', true)).toBe(true)
    expect(await roundTrip('boolean', false)).toBe(false)
    expect(await roundTrip('boolean', null)).toBeNull()
  })

  it('of json give back the stored object, array, string or number', async () => {
    for (const document of [{ text: 'hello', boolean: true, int: 1 }, ['lorem', 'ipsum', 1], 'dolor', 5]) {
      expect(await roundTrip('json', json(document))).toEqual(document)
    }
    expect(await roundTrip('json', '{"a":[1,{"b":":c"}]}')).toEqual({ a: [1, { b: ':c' }] })
  })

  it('of json are parsed in raw queries and by builders, when a builder has written them', async () => {
    await database.execute('create table sessions (id integer primary key, data json)')
    await database.table('sessions').insert({ id: 1, data: json(['a', { b: 1 }]) })
    await database.execute(database.table('sessions').insert({ id: 2, data: { text: 'hello' } }))
    const expected = [['a', { b: 1 }], { text: 'hello' }]
    const raw = await database.fetchAll<{ data: unknown }>('select data from sessions order by id')
    expect(raw.map(({ data }) => data)).toEqual(expected)
    expect(await database.table('sessions').orderBy('id').pluck('data')).toEqual(expected)
    await database.execute('drop table sessions')
  })

  it('of bigint keep every digit, as a string where a number would lose some', async () => {
    const beyond = 9_007_199_254_740_993n
    await database.execute('create table big (id integer primary key, x bigint)')
    await database.execute('insert into big values (1, :x)', { x: beyond })
    expect(await database.fetchVal('select cast(x as text) from big')).toBe(String(beyond))
    const refusal = expect.stringMatching(/x holds an integer beyond 2\^53.*sqlite\+appthreat/) as unknown
    const isExact = context.driver !== 'sqlite3'
    expect(await valueOrMessage(database.fetchVal('select x from big'))).toEqual(
      isExact ? String(beyond) : refusal,
    )
    const row = valueOrMessage(Promise.resolve(database.table('big').first('x')))
    expect(await row).toEqual(isExact ? { x: String(beyond) } : refusal)
    await database.execute('update big set x = 5')
    expect(await database.fetchVal('select x from big')).toBe(isSqlite ? 5 : '5')
    await database.execute('drop table big')
  })

  it('of numeric keep every digit on PostgreSQL, as a string, and are numbers on SQLite', async () => {
    const found = await roundTrip('numeric', '0.700000000000001')
    expect(found).toBe(isSqlite ? 0.700000000000001 : '0.700000000000001')
  })

  it('of double precision are exact numbers', async () => {
    expect(await roundTrip('double precision', 0.1)).toBe(0.1)
    expect(await roundTrip('double precision', 1e300)).toBe(1e300)
  })

  if (!isSqlite) {
    it("of arrays give arrays of the element's values", async () => {
      expect(await roundTrip('integer[]', [1, 2])).toEqual([1, 2])
      expect(await roundTrip('bigint[]', [1, 9_007_199_254_740_993n])).toEqual(['1', '9007199254740993'])
      expect(await roundTrip('date[]', ['2026-03-01'])).toEqual(['2026-03-01'])
      expect(await roundTrip('text[]', ['a,b', '"', 'NULL'])).toEqual(['a,b', '"', 'NULL'])
    })
  }

  it('of time, of uuid and of enums give strings', async () => {
    expect(await roundTrip('time', '12:30:00')).toBe('12:30:00')
    expect(await roundTrip('varchar(10)', 'SMALL')).toBe('SMALL')
    const uuid = '7d444840-9dc0-11d1-b245-5ffdce74fad2'
    expect(await roundTrip('uuid', uuid)).toBe(uuid)
    if (isSqlite) return
    await database.execute("create type size as enum ('SMALL', 'LARGE')")
    expect(await roundTrip('size', 'LARGE')).toBe('LARGE')
    await database.execute('drop table typed')
    await database.execute('drop type size')
  })

  it('of bytes give a Buffer', async () => {
    expect(await roundTrip(isSqlite ? 'blob' : 'bytea', Buffer.from('ducks'))).toEqual(Buffer.from('ducks'))
  })

  it.each(['America/New_York', 'Asia/Kolkata'])('of date and time are the same again in %s', async (zone) => {
    const { stdout } = await runScript(`
      process.env.TZ = ${JSON.stringify(zone)}
      const { Database } = require('./src/database')
      const database = new Database(${JSON.stringify(context.url)})
      const instant = new Date('2026-03-08T06:30:00.123Z')
      const main = async () => {
        await database.connect()
        await database.execute('drop table if exists times')
        await database.execute('create table times (day date, zoned ${isSqlite ? 'timestamp' : 'timestamptz'}, plain timestamp)')
        await database.execute('insert into times values (:day, :zoned, :plain)', { day: '2026-03-08', zoned: instant, plain: instant })
        const same = await database.fetchVal('select count(*) from times where zoned = :zoned and plain = :plain', { zoned: instant, plain: instant })
        console.log(JSON.stringify([await database.fetchOne('select * from times'), Number(same), instant.getTimezoneOffset()]))
        await database.execute('drop table times')
        await database.disconnect()
      }
      void main()`)
    const [row, same, offset] = JSON.parse(stdout) as [unknown, number, number]
    const written = isSqlite ? '2026-03-08 06:30:00.123' : '2026-03-08T06:30:00.123Z'
    expect(row).toEqual({ day: '2026-03-08', zoned: written, plain: written })
    expect(same).toBe(1)
    expect(offset).toBe(zone === 'Asia/Kolkata' ? -330 : 300)
  })

  if (isSqlite) return

  describe('of user-defined types', () => {
    const ONE = { size: 1, maxOverflow: 0 }

    let url: string

    beforeAll(async () => {
      url = await context.createDatabase()
      const definitions = `
        create type role as enum ('admin', 'the "other"');
        create domain quantity as integer check (value > 0);
        create domain dozen as quantity;
        create domain words as text[];
        create domain roles as role[];
        create domain word as text;
        create type pair as (a integer, b text);
        create type span as range (subtype = float8);
        create schema other;
        create type other.role as enum ('x');
        create table staff (id integer, roles role[], quantities quantity[])`
      await context.admin(definitions, url)
    })

    const arrays: readonly [string, unknown][] = [
      [`array['admin', 'the "other"', null]::role[]`, ['admin', 'the "other"', null]],
      ["array['x']::other.role[]", ['x']],
      ['array[1, 2]::quantity[]', [1, 2]],
      [
        'array[array[1, 2], array[3, 4]]::dozen[]',
        [
          [1, 2],
          [3, 4],
        ],
      ],
      [`array['{a,NULL,"b,c"}']::words[]`, [['a', null, 'b,c']]],
      [`array['{admin}']::roles[]`, [['admin']]],
      [`array[row(1, 'a,b')]::pair[]`, ['(1,"a,b")']],
      [`array[row(1, 'a')]`, ['(1,a)']],
      [`array['[1,2.5)']::span[]`, ['[1,2.5)']],
      ["array['[1,5)']::int4range[]", ['[1,5)']],
      ["array['{[1,5)}']::int4multirange[]", ['{[1,5)}']],
      ["array['a', 'b']::name[]", ['a', 'b']],
      ["array[b'101']", ['101']],
      ["array['7'::xid]", ['7']],
      ["'[0:1]={1.50,NaN}'::numeric[]", ['1.50', 'NaN']],
      ['array[12345678901234567890.123456789]', ['12345678901234567890.123456789']],
      ["array[box '(1,1),(0,0)', box '(3,3),(2,2)']", ['(1,1),(0,0)', '(3,3),(2,2)']],
      ["array[circle '<(1,2),3>']", [{ x: 1, y: 2, radius: 3 }]],
      ["array[xmlparse(content '<a/>')]", ['<a/>']],
      ['array[]::role[]', []],
      ['array[\'<a>\']::"char"[]', ['<']],
      ["array[interval '1 day', null]", [{ days: 1 }, null]],
      ["'1 2'::int2vector", '1 2'],
      ["'admin'::role", 'admin'],
      ['5::dozen', 5],
      [`row(1, 'a')::pair`, '(1,a)'],
    ]

    it('give arrays by every query method, the first time and later', async () => {
      for (const [index, [value, expected]] of arrays.entries()) {
        // Each is seen first by another way.
        const database = await context.open({ pool: ONE, preparedStatements: index % 2 === 0 }, url)
        const query = `select ${value} as it, 1 as it2, ${value} as it`
        const ways: (() => Promise<unknown>)[] = [
          async () => (await database.fetchOne<{ it: unknown }>(query))?.it,
          () => database.fetchVal(query),
          async () => (await all(database.iterate<{ it: unknown }>(query)))[0]?.it,
          () => database.transaction(() => database.fetchVal(query, {}, { column: 'it' })),
          () =>
            database.transaction(async () => {
              const [row] = await all(database.iterate<{ it: unknown }>(query))
              return row?.it
            }),
          async () => (await database.knex.raw<{ rows: { it: unknown }[] }>(query)).rows[0]?.it,
        ]
        for (let at = 0; at < ways.length; at += 1) {
          expect([value, await ways[(index + at) % ways.length]?.()]).toEqual([value, expected])
        }
        await database.disconnect()
      }
    })

    it('are looked up once, in the transaction where they first occur', async () => {
      const proxy = await startProxy(url)
      try {
        const database = await context.open({}, proxy.url)
        const lookUp = Buffer.from('typarray')
        const first = proxy.trap(lookUp, { act: () => undefined })
        const insert = 'insert into staff values (:id, :roles, :quantities) returning roles, quantities'
        let isLookedUpAgain = false
        for (const id of [1, 2, 3]) {
          await database.transaction(async () => {
            const row = { roles: ['admin'], quantities: [id] }
            expect(await database.fetchOne(insert, { id, ...row })).toEqual(row)
            await database
              .table('staff')
              .where({ id })
              .update({ roles: ['admin', 'the "other"'] })
          })
          await first
          if (id === 1) void proxy.trap(lookUp, { act: () => (isLookedUpAgain = true) })
        }
        const reading = [1, 2, 3].map(() => database.fetchAll('select roles, quantities from staff'))
        for (const rows of await Promise.all(reading)) expect(rows).toHaveLength(3)
        expect(isLookedUpAgain).toBe(false)
        await database.disconnect()
      } finally {
        await proxy.close()
      }
    })

    it('are read by the type parsers set on a connection and globally', async () => {
      const database = await context.open({ pool: ONE }, url)
      await database.connection(async (connection) => {
        const oid = await connection.fetchVal<number>("select 'role'::regtype::oid")
        ;(connection.raw as Client).setTypeParser(oid ?? 0, (text) => `mine ${text}`)
        expect(await connection.fetchVal("select array['admin']::role[]")).toEqual(['mine admin'])
      })
      expect(await database.fetchVal("select array['admin']::role[]")).toEqual(['admin'])
    })

    it('hold any text in arrays', async () => {
      const database = await context.open({ pool: ONE }, url)
      const below = randomFrom(4711)
      const pieces = ['{', '}', ',', ';', '"', '\\', ' ', 'NULL', 'a', 'é', '🦆', '\n']
      const text = (): string => Array.from({ length: below(5) }, () => pieces[below(pieces.length)]).join('')
      for (let round = 0; round < 50; round += 1) {
        const words = Array.from({ length: 6 }, () => (below(10) === 0 ? null : text()))
        const nested = [words.slice(0, 3), words.slice(3)]
        expect(await database.fetchVal('select :words::word[]', { words })).toEqual(words)
        expect(await database.fetchVal('select :nested::word[]', { nested })).toEqual(nested)
      }
    })
  })
})

eachDatabase('the type of a column', (context) => {
  let database: Database

  beforeEach(async () => {
    database = await context.open()
    await database.execute('create table t (id integer primary key, name text)')
  })
  afterEach(async () => {
    await context.admin('drop table t')
  })

  it('is that of a temporary table of the same name, on its own connection only', async () => {
    await context.admin('create table flags (on_off boolean)')
    await context.admin('insert into flags values (true)')
    const read = 'select on_off from flags'
    expect(await database.fetchVal(read)).toBe(true)
    await database.connection(async (connection) => {
      await connection.execute('create temporary table flags (on_off integer)')
      await connection.execute('insert into flags values (1)')
      expect(await connection.fetchVal(read)).toBe(1)
      expect(await database.detached(() => database.fetchVal(read))).toBe(true)
      await connection.execute(
        'drop table temp.flags'.replace('temp.', context.dialect === 'sqlite' ? 'temp.' : ''),
      )
      expect(await connection.fetchVal(read)).toBe(true)
    })
  })
})
