/** What logQueries prints for people. */
import { stripVTControlCharacters } from 'node:util'
import {
  ConfigurationError,
  type Database,
  logQueries,
  type QueryLogOptions,
  runInScope,
} from '../../src/database'
import { eachDatabase } from '../support/each-database'
import { waitFor } from '../support/wait-for'
import { failure } from './support'

const RESULT = /^ {2}(?:(.*), )?[\d.]+ ms(?:, (.*))?$/m

eachDatabase('the log of statements', (context) => {
  async function openLogged(options?: QueryLogOptions): Promise<{ database: Database; printed: string[] }> {
    const database = await context.open()
    await database.execute('drop table if exists posts')
    await database.execute('create table posts (title text not null unique)')
    const printed: string[] = []
    logQueries(database, { write: (text) => printed.push(text), ...options })
    return { database, printed }
  }

  /** Waits for what is printed after the statement has ended. */
  const last = async (printed: string[]): Promise<string> => {
    await waitFor(() => printed.length > 0)
    return printed.splice(0).join('')
  }

  it('has the text, the rows, the time, the label and the place of each, and no values', async () => {
    const { database, printed } = await openLogged()
    await runInScope({ label: 'POST /posts' }, () =>
      database.execute('insert into posts (title) values (:title)', { title: 'hunter2' }),
    )
    const text = await last(printed)
    expect(text).toMatch(
      /^insert into posts \(title\) values \([?$]1\)\n {2}1 row changed, [\d.]+ ms, POST \/posts, at .*\n$/,
    )
    expect(text).toMatch(/test.database.query-log\.test\.ts:\d+:\d+/)
    expect(text).not.toContain(process.cwd())
    expect(text).not.toContain('hunter2')
    await database.fetchAll('select * from posts where title <> :title', { title: 'a' })
    expect(RESULT.exec(await last(printed))?.[1]).toBe('1 row')
    await database.fetchAll(database.table('posts').where({ title: 'a' }))
    expect(RESULT.exec(await last(printed))?.[1]).toBe('0 rows')
    await database.knex('posts').where({ title: 'hunter2' }).delete()
    expect(RESULT.exec(await last(printed))?.[1]).toBe('1 row changed')
  })

  it('has the statements of a transaction in their order, and a stream once', async () => {
    const { database, printed } = await openLogged()
    await database.transaction(async (tx) => {
      await tx.execute("insert into posts (title) values ('a')")
      for await (const _row of tx.iterate('select * from posts', {}, { batchSize: 1 })) continue
    })
    await waitFor(() => printed.some((text) => text.startsWith('COMMIT')))
    expect(printed.map((text) => text.split(' ', 1)[0]?.trim())).toEqual([
      expect.stringMatching(/^BEGIN/),
      'insert',
      'select',
      expect.stringMatching(/^COMMIT/),
    ])
  })

  it('has the error of a statement that failed', async () => {
    const { database, printed } = await openLogged()
    await failure(database.fetchAll('select * from nowhere'))
    const text = await last(printed)
    expect(text).toMatch(/^select \* from nowhere\n.*ms.*\n {2}UNDEFINED_NAME: .*nowhere/)
  })

  it('has values where they are asked for, and the lines of a text as they were indented', async () => {
    const { database, printed } = await openLogged({ values: true })
    await database.fetchAll(
      `
      select title
        from posts
       where title = :title`,
      { title: 'hunter2' },
    )
    const text = await last(printed)
    expect(text).toMatch(/^select title\n {2}from posts\n where title = [?$]1\n/)
    expect(text).toMatch(/\n {2}\[ 'hunter2' \]\n$/)
  })

  it('has colours where they are asked for, which change nothing else', async () => {
    const sql = `select 'from', "title" from posts`
    const { database, printed } = await openLogged({ colors: true })
    await database.fetchAll(sql)
    const text = await last(printed)
    expect(text).toContain('\u001B[36mselect\u001B[39m \'from\', "title" \u001B[36mfrom\u001B[39m posts')
    expect(stripVTControlCharacters(text).startsWith(`${sql}\n  0 rows, `)).toBe(true)
  })

  it('leaves out what is fast, if it is told to, and everything once it is stopped', async () => {
    const { database, printed } = await openLogged({ minMillis: 60_000 })
    await database.fetchVal('select 1')
    const stop = logQueries(database, { write: (text) => printed.push(text) })
    await database.fetchVal('select 2')
    stop()
    await database.fetchVal('select 3')
    expect(await last(printed)).toMatch(/^select 2\n/)
    await new Promise(setImmediate)
    expect(printed).toEqual([])
    expect(() => logQueries(database, { value: true } as never)).toThrow(ConfigurationError)
  })
})
