/** Values are read the same for every setting of their formats by the server, the database or the role. */
import { type Client, types } from 'pg'
import { type Database, QueryError } from '../../../src/database'
import { all, failure } from '../support'
import { eachDatabase } from '../../support/each-database'
import { startPooler } from '../../support/pooler'

const MOMENT = new Date('2026-03-01T12:30:00.123Z')
const BYTES = Buffer.from([0, 255, 92])
const ONE = { size: 1, maxOverflow: 0 }

eachDatabase('a value', (context) => {
  const isPostgres = context.dialect === 'postgresql'
  const query = isPostgres
    ? `select date '2026-03-01' as day, 0.1::float8 + 0.2 as sum, '\\x00ff5c'::bytea as bytes, 'é€🦆' as word,
         timestamptz '2026-03-01 12:30:00.123+00' as at, array[timestamptz '2026-03-01 12:30:00.123+00'] as ats,
         make_interval(months => -2, days => 3, secs => -6.7) as span, array[date '2026-03-01'] as days,
         array['\\x00ff5c'::bytea] as several`
    : `select '2026-03-01' as day, 0.1 + 0.2 as sum, x'00ff5c' as bytes, 'é€🦆' as word`
  const ofPostgres = {
    at: MOMENT,
    ats: [MOMENT],
    span: { months: -2, days: 3, seconds: -6, milliseconds: -700 },
    days: ['2026-03-01'],
    several: [BYTES],
  }
  const row = {
    day: '2026-03-01',
    sum: 0.1 + 0.2,
    bytes: BYTES,
    word: 'é€🦆',
    ...(isPostgres && ofPostgres),
  }
  /** The row by every query method. */
  const readings = async (database: Database): Promise<unknown[]> => [
    await database.fetchOne(query),
    ...(await database.fetchAll(query)),
    ...(await all(database.iterate(query))),
    ...(await database.transaction(() => all(database.iterate(query)))),
    await database.fetchOne(database.knex.raw(query)),
    // A very long text is not prepared.
    await database.fetchOne(`${query} /* ${'x'.repeat(10_000)} */`),
  ]

  it('is the same by every query method', async () => {
    for (const reading of await readings(await context.open())) expect(reading).toEqual(row)
  })

  if (!isPostgres) return

  it.each([
    ['DateStyle', 'German'],
    ['DateStyle', 'SQL, DMY'],
    ['DateStyle', 'Postgres, MDY'],
    ['IntervalStyle', 'iso_8601'],
    ['IntervalStyle', 'postgres_verbose'],
    ['IntervalStyle', 'sql_standard'],
    ['extra_float_digits', '-15'],
    ['bytea_output', 'escape'],
    ['TimeZone', 'Asia/Kolkata'],
    ['client_encoding', 'LATIN1'],
  ])('is the same when the database has set its %s to %s', async (name, value) => {
    const url = await context.createDatabase()
    await context.admin(`alter database ${new URL(url).pathname.slice(1)} set ${name} = '${value}'`)
    const database = await context.open({ pool: ONE }, url)
    for (const reading of await readings(database)) expect(reading).toEqual(row)
    await database.execute('set work_mem = 1000')
    for (const reading of await readings(database)) expect(reading).toEqual(row)
    expect(database.stats()).toMatchObject({ created: 1 })
  })

  it('in an array is NULL when array_nulls is off', async () => {
    const url = await context.createDatabase()
    await context.admin(`alter database ${new URL(url).pathname.slice(1)} set array_nulls = off`)
    const database = await context.open({ pool: ONE }, url)
    for (const sql of ['set work_mem = 1000', 'select 1']) {
      await expect(database.fetchVal('select :texts::text[]', { texts: [null, 'a'] })).resolves.toEqual([
        null,
        'a',
      ])
      await database.execute(sql)
    }
  })

  it('is the same when the role has set them, behind a pooler and without prepared statements', async () => {
    await context.admin('create role stylish login superuser')
    await context.admin("alter role stylish set DateStyle = 'German'")
    await context.admin("alter role stylish set IntervalStyle = 'iso_8601'")
    await using pooler = await startPooler(context.url)
    for (const url of [context.url, pooler.url]) {
      const theirs = url.replace('//postgres@', '//stylish@')
      const database = await context.open({ pool: ONE, preparedStatements: false }, theirs)
      for (const reading of await readings(database)) expect(reading).toEqual(row)
      await database.execute('listen news')
      for (const reading of await readings(database)) expect(reading).toEqual(row)
      expect(await database.fetchVal("select '02.03.2026'::date")).toBe('2026-03-02')
      await database.disconnect()
    }
    await context.admin('drop role stylish')
  })

  describe('that cannot be read', () => {
    const unreadable = [
      ["timestamptz '2026-03-01 12:30+00'", 'timestamptz'],
      ["timestamp '2026-03-01 12:30'", 'timestamp'],
      ["date '2026-03-01'", 'date'],
      ["interval '2 months'", 'interval'],
      ["array[timestamptz '2026-03-01 12:30+00']", 'timestamptz[]'],
      ["array[date '2026-03-01']", 'date[]'],
    ] as const

    it('is an error that names its column and type, by every query method, and not null', async () => {
      const database = await context.open({ pool: ONE })
      for (const [value, type] of unreadable) {
        const query = `select 1 as one, ${value} as it, null as nothing`
        const ways: (() => Promise<unknown>)[] = [
          () => database.fetchOne(query),
          () => database.fetchVal(query, {}, { column: 1 }),
          () => all(database.iterate(query)),
          () => database.fetchAll(`${query} /* ${'x'.repeat(10_000)} */`),
          async () => await database.knex.raw(query),
        ]
        await database.connection(async () => {
          await database.execute("set DateStyle = 'German'")
          await database.execute("set IntervalStyle = 'iso_8601'")
          for (const way of ways) {
            const error = await failure(way())
            expect(error).toBeInstanceOf(QueryError)
            expect(error).toMatchObject({ sql: expect.stringContaining(value) as unknown })
            expect(error.message).toContain(`Column 'it', of type ${type},`)
            expect(error.message).toContain('DateStyle')
            // Knex puts the text of the statement in front.
            expect(error.message.replace(query, '')).not.toMatch(/2026|P2M/)
          }
        })
        expect(database.stats()).toMatchObject({ created: 1, used: 0 })
      }
    })

    it('is an error beyond the range of a Date, and a string when it is cast to text', async () => {
      const database = await context.open({ pool: ONE })
      const query = "select timestamptz '294276-01-01 00:00+00' as far"
      expect((await failure(database.fetchAll(query))).message).toMatch(/'far'.*beyond what a Date can hold/)
      expect(await database.fetchVal(query.replace(' as far', '::text'))).toBe('294276-01-01 00:00:00+00')
      expect(await database.fetchVal("select timestamptz '275760-09-13 00:00+00'")).toEqual(new Date(8.64e15))
    })

    it('is an error when a type parser of the program throws, and the value is not shown', async () => {
      const database = await context.open({ pool: ONE })
      await database.connection(async ({ raw }) => {
        const fails = (text: string): never => {
          throw new Error(`cannot read ${text} from a socket`)
        }
        ;(raw as Client).setTypeParser(types.builtins.INT8, fails)
        const error = await failure(database.fetchVal('select 4711::bigint as n'))
        expect(error).toBeInstanceOf(QueryError)
        expect(error.message).toMatch(/'n', of type int8,.* parser has failed/)
        expect(error.message).not.toContain('4711')
        expect(error.cause).toMatchObject({ message: 'cannot read 4711 from a socket' })
        expect(await database.fetchVal('select 1')).toBe(1)
      })
    })
  })

  it('without an end is Infinity or the string infinity', async () => {
    const database = await context.open()
    expect(
      await database.fetchOne(
        "select timestamptz 'infinity' as a, timestamp '-infinity' as b, date 'infinity' as c, interval '-infinity' as d",
      ),
    ).toEqual({ a: Infinity, b: -Infinity, c: 'infinity', d: -Infinity })
  })

  describe('that was read', () => {
    const values = [
      ...[
        '1 day 2 hours',
        '-1 mons +3 days -04:05:06.789012',
        '0',
        '-0.000001 seconds',
        '178000000 years',
        'infinity',
        '1 year -11 mons',
        '2562047788:00:54.775807',
        '59.999999 seconds',
      ].map((text) => `interval '${text}'`),
      ...['(1,2)', '(-1e300,0.1)', '(NaN,Infinity)'].map((text) => `point '${text}'`),
      "circle '<(1.5,-2),3e-300>'",
      "array[interval '1 day', null, interval '-00:00:01.5']",
      "array[point '(1,2)']",
      'array[12345678901234567890.123456789, 0.10]',
      "array[timestamptz '2026-03-01 12:30:00.123+00', null]",
      "array[date '0044-03-15 BC', date 'infinity']",
      "array['[1,5)'::int4range]",
      "date '10000-01-01'",
      "timestamptz '0044-03-15 12:00:00 BC'",
    ]

    it.each(values)('is bound back unchanged: %s', async (value) => {
      const database = await context.open({ pool: ONE })
      const query = `select ${value} as it, pg_typeof(${value}) as type, (${value})::text as text`
      const row = await database.fetchOne<{ it: unknown; type: string; text: string }>(query)
      const { it: read, type, text } = row ?? { it: null, type: '', text: '' }
      expect(await database.fetchVal(`select :read::${type}::text`, { read })).toBe(text)
      expect(await database.fetchVal(database.knex.raw(`select ?::${type}::text`, [read as never]))).toBe(
        text,
      )
    })

    it('is bound back unchanged in many rows', async () => {
      const database = await context.open({ pool: ONE })
      await database.execute('create table spans (id integer, span interval, place point, spans interval[])')
      const row = await database.fetchOne(
        "select interval '-1 day 02:00:03.5' as span, point '(1,2)' as place, array[interval '1 mon'] as spans",
      )
      const rows = Array.from({ length: 600 }, (_, id) => ({ id, ...row }))
      await database.executeMany(database.table('spans'), rows)
      expect(await database.table('spans').orderBy('id')).toEqual(rows)
      await database.execute('drop table spans')
    })

    it('is distinguished from an equal object of a request', async () => {
      const database = await context.open({ pool: ONE })
      const place = await database.fetchVal("select point '(1,2)'")
      const sent = JSON.parse(JSON.stringify(place)) as unknown
      expect(sent).toEqual({ x: 1, y: 2 })
      await expect(database.fetchVal('select :place::point', { place: sent })).rejects.toThrow(/is an object/)
    })
  })

  describe('for which the program has a parser of its own', () => {
    const oids = [1082, 1182, 1184, 1185, 1186, 600, 1231, 1700]
    const before = oids.map((oid) => [oid, types.getTypeParser(oid)] as const)
    afterEach(() => {
      for (const [oid, parser] of before) types.setTypeParser(oid, parser)
    })

    it.each([
      [1082, "date '2026-03-01'"],
      [1182, "array[date '2026-03-01']"],
      [1184, "timestamptz '2026-03-01 12:30+00'"],
      [1185, "array[timestamptz '2026-03-01 12:30+00']"],
      [1186, "interval '1 day'"],
      [600, "point '(1,2)'"],
      [1231, 'array[1.5]'],
    ])('is read by that parser, whenever it is set: %s', async (oid, value) => {
      for (const comesFirst of [true, false]) {
        const theirs = (text: string): string => `mine ${text.length}`
        const database = await context.open()
        const opened = comesFirst ? null : database
        types.setTypeParser(oid, theirs)
        const asked = opened ?? (await context.open())
        for (const preparedStatements of [true, false]) {
          const other = await context.open({ preparedStatements })
          expect(await other.fetchVal(`select ${value}`)).toMatch(/^mine \d+$/)
        }
        expect(await asked.fetchVal(`select ${value}`)).toMatch(/^mine \d+$/)
        for (const [each, parser] of before) types.setTypeParser(each, parser)
      }
    })

    it('is read by that parser in arrays as well, and numeric arrays as numbers', async () => {
      types.setTypeParser(1082, (text) => `mine ${text}`)
      types.setTypeParser(1700, Number)
      const database = await context.open()
      expect(await database.fetchVal("select array[date '2026-03-01']")).toEqual(['mine 2026-03-01'])
      expect(await database.fetchVal('select array[1.50]')).toEqual([1.5])
    })
  })
})
