/** What users of OpenTelemetry's instrumentations of pg and Knex see of the statements of a Database. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { eachDatabase } from '../support/each-database'
import { toRun } from '../support/compiled'

const STREAM = ['BEGIN', 'DECLARE', 'FETCH', 'COMMIT'].map((operation) => `  pg.query:${operation} db`)

type Outlines = Readonly<Record<string, readonly string[]>>

eachDatabase("the spans of OpenTelemetry's instrumentations", (context) => {
  const isFile = context.dialect === 'sqlite'

  async function run(subject: string): Promise<Outlines> {
    const program = toRun('test/support/instrumented-program.ts')
    const { stdout } = await promisify(execFile)(process.execPath, [...program, context.url, subject])
    return JSON.parse(stdout) as Outlines
  }

  beforeAll(async () => {
    const database = await context.open()
    await database.execute('create table posts (title text)')
  })

  it('are those that Knex has, and of a text those that pg has', async () => {
    const [byKnex, byDatabase] = await Promise.all([run('knex'), run('database')])
    const { builder, 'failing builder': failing, transaction } = byKnex
    expect(builder).toHaveLength(isFile ? 2 : 3)
    expect(byDatabase).toEqual({
      builder,
      'failing builder': failing,
      // BEGIN goes with the first statement.
      transaction: transaction?.filter((line) => !line.includes('BEGIN')),
      text: ['text', ...(isFile ? [] : ['  pg.query:SELECT db'])],
      stream: ['stream', ...(isFile ? [] : STREAM)],
    })
  })

  it('are not made beside those of the Database, but for that of a builder', async () => {
    const { builder, transaction, text, stream } = await run('traced database')
    expect(builder).toEqual(['builder', '  select db.posts', '    SELECT posts'])
    expect(transaction).toEqual([
      'transaction',
      '  transaction',
      '    BEGIN',
      '    insert db.posts',
      '      INSERT posts',
      '    COMMIT',
    ])
    expect(text).toEqual(['text', '  SELECT posts'])
    expect(stream?.filter((line) => !line.includes('wait for'))).toEqual(['stream', '  SELECT posts'])
  })
})
