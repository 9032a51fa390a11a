/** Values are read the same whatever the server, the database or the role has set for their formats. */
import type { Database } from '../../src/database'
import { eachDatabase } from '../support/each-database'
import { startPooler } from '../support/pooler'
import { all } from './support'

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
  /** By every way there is from the database to a row. */
  const readings = async (database: Database): Promise<unknown[]> => [
    await database.fetchOne(query),
    ...(await database.fetchAll(query)),
    ...(await all(database.iterate(query))),
    ...(await database.transaction(() => all(database.iterate(query)))),
    await database.fetchOne(database.knex.raw(query)),
    // What is not prepared goes another way.
    await database.fetchOne(`${query} /* ${'x'.repeat(10_000)} */`),
  ]

  it('is the same by every way that leads to it', async () => {
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

  it('is the same when the role has set them, behind a pooler and without prepared statements as well', async () => {
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
})
