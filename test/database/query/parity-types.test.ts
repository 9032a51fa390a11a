/** What the Python library `databases` tests about types of columns; times and dates in two time zones. */
import { type Database, json } from '../../../src/database'
import { eachDatabase } from '../../support/each-database'
import { all, runScript, valueOrMessage } from '../support'

eachDatabase('types, as in databases', (context) => {
  const isSqlite = context.dialect === 'sqlite'
  let database: Database

  beforeEach(async () => {
    database = await context.open({ pool: { size: 1, maxOverflow: 0 } })
  })
  /** What a column of a type gives back for a value, which must not depend on the way that it is asked for. */
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

  it('boolean is true and false', async () => {
    expect(await roundTrip('boolean', true)).toBe(true)
    expect(await roundTrip('boolean', false)).toBe(false)
    expect(await roundTrip('boolean', null)).toBeNull()
  })

  it('json is what was put in: an object, a list, a text, a number', async () => {
    for (const document of [{ text: 'hello', boolean: true, int: 1 }, ['lorem', 'ipsum', 1], 'dolor', 5]) {
      expect(await roundTrip('json', json(document))).toEqual(document)
    }
    expect(await roundTrip('json', '{"a":[1,{"b":":c"}]}')).toEqual({ a: [1, { b: ':c' }] })
  })

  it('json is parsed in raw queries and by builders alike, when a builder has written it', async () => {
    await database.execute('create table sessions (id integer primary key, data json)')
    await database.table('sessions').insert({ id: 1, data: json(['a', { b: 1 }]) })
    await database.execute(database.table('sessions').insert({ id: 2, data: { text: 'hello' } }))
    const expected = [['a', { b: 1 }], { text: 'hello' }]
    const raw = await database.fetchAll<{ data: unknown }>('select data from sessions order by id')
    expect(raw.map(({ data }) => data)).toEqual(expected)
    expect(await database.table('sessions').orderBy('id').pluck('data')).toEqual(expected)
    await database.execute('drop table sessions')
  })

  it('bigint keeps every digit, as a string where a number would not', async () => {
    const beyond = 9_007_199_254_740_993n
    await database.execute('create table big (id integer primary key, x bigint)')
    await database.execute('insert into big values (1, :x)', { x: beyond })
    expect(await database.fetchVal('select cast(x as text) from big')).toBe(String(beyond))
    const told = expect.stringMatching(/x holds an integer beyond 2\^53.*sqlite\+appthreat/) as unknown
    const isExact = context.driver !== 'sqlite3'
    expect(await valueOrMessage(database.fetchVal('select x from big'))).toEqual(
      isExact ? String(beyond) : told,
    )
    const row = valueOrMessage(Promise.resolve(database.table('big').first('x')))
    expect(await row).toEqual(isExact ? { x: String(beyond) } : told)
    await database.execute('update big set x = 5')
    expect(await database.fetchVal('select x from big')).toBe(isSqlite ? 5 : '5')
    await database.execute('drop table big')
  })

  it('numeric keeps every digit on PostgreSQL, as a string, and is a number on SQLite', async () => {
    const found = await roundTrip('numeric', '0.700000000000001')
    expect(found).toBe(isSqlite ? 0.700000000000001 : '0.700000000000001')
  })

  it('real is a number, however large, and double precision is exact', async () => {
    expect(await roundTrip('double precision', 0.1)).toBe(0.1)
    expect(await roundTrip('double precision', 1e300)).toBe(1e300)
  })

  if (!isSqlite) {
    it('an array is one of what its elements are', async () => {
      expect(await roundTrip('integer[]', [1, 2])).toEqual([1, 2])
      expect(await roundTrip('bigint[]', [1, 9_007_199_254_740_993n])).toEqual(['1', '9007199254740993'])
      expect(await roundTrip('date[]', ['2026-03-01'])).toEqual(['2026-03-01'])
      expect(await roundTrip('text[]', ['a,b', '"', 'NULL'])).toEqual(['a,b', '"', 'NULL'])
    })
  }

  it('time, and a type of the program’s own kept as text, are texts', async () => {
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

  it('bytes are a Buffer', async () => {
    expect(await roundTrip(isSqlite ? 'blob' : 'bytea', Buffer.from('ducks'))).toEqual(Buffer.from('ducks'))
  })

  it.each(['America/New_York', 'Asia/Kolkata'])('date and time are the same again in %s', async (zone) => {
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
})
