/** Values beyond the limits of a string or of the database are errors; the process and the connection survive. */
import { BindError, type Database } from '../../../src/database'
import { eachDatabase } from '../../support/each-database'
import { failure, runScript } from '../support'

const MEGABYTE = 1_000_000

eachDatabase('a very large value', (context) => {
  let database: Database

  beforeEach(async () => {
    database = await context.open({ pool: { size: 1, maxOverflow: 0 } })
  })

  it('is sent in a statement of its own by executeMany()', async () => {
    await database.execute(
      'create table large (id integer, bytes ' + (context.dialect === 'sqlite' ? 'blob)' : 'bytea)'),
    )
    const sent: string[] = []
    database.on('query', ({ sql }) => sent.push(sql))
    const bytes = Buffer.alloc(MEGABYTE)
    const rows = [0, 1, 2, 3, 4].map((id) => ({ id, bytes: id < 3 ? bytes : Buffer.alloc(1) }))
    await database.executeMany('insert into large (id, bytes) values (:id, :bytes)', rows)
    await database.executeMany(database.table('large'), rows)
    // Small values share the statement of the one before them.
    expect(sent.filter((sql) => sql.startsWith('insert'))).toHaveLength(6)
    expect(Number(await database.fetchVal('select sum(length(bytes)) from large'))).toBe(6 * MEGABYTE + 4)
    await database.execute('drop table large')
  })

  if (context.dialect === 'sqlite') return

  it('is refused before anything is sent when PostgreSQL cannot take it', async () => {
    const half = Buffer.alloc(600 * MEGABYTE)
    const ways = [
      () => database.fetchVal('select length(:a) + length(:b)', { a: half, b: half }),
      () => database.execute('explain select :a::bytea, :b::bytea', { a: half, b: half }),
      () => database.fetchVal(database.knex.raw('select length(?) + length(?)', [half, half])),
      () => database.iterate('select :a::bytea, :b::bytea', { a: half, b: half }).next(),
    ]
    for (const way of ways) {
      const error = await failure(way())
      expect(error).toBeInstanceOf(BindError)
      expect(error.message).toMatch(/larger than 1 GB/)
    }
    expect(await database.fetchVal('select 1')).toBe(1)
    expect(database.stats()).toMatchObject({ created: 1 })
  })

  it('is a QueryError when it is too long for a string, prepared or not', async () => {
    // In a process of its own, which an uncaught error would end.
    const { stdout } = await runScript(
      `
      const { Database } = require('./src/database')
      const QUERY = "select repeat('x', 540000000) as it"
      const run = async () => {
        const database = new Database(${JSON.stringify(context.url)}, { pool: { size: 1, maxOverflow: 0 } })
        await database.connect()
        const ways = [
          () => database.fetchAll(QUERY),
          () => database.fetchAll(QUERY + ' /*' + 'x'.repeat(10_000) + '*/'),
        ]
        for (const way of ways) {
          const { name, message } = await way().catch((error) => error)
          console.log(name, message, await database.fetchVal('select 1'))
        }
        await database.disconnect()
      }
      void run()`,
      80_000,
    )
    const [prepared, unprepared] = stdout.split('\n')
    expect(prepared).toMatch(/^QueryError Column 'it', of type text, .* longer than a string may be.* 1$/)
    expect(unprepared).toMatch(/^QueryError .* longer than a string may be.* 1$/)
  })
})
