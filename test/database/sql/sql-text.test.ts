/** SQL text: trailing semicolons and comments, NUL characters, empty texts. */
import { ConfigurationError, type Database, QueryError } from '../../../src/database'
import { all, failure } from '../support'
import { eachDatabase } from '../../support/each-database'

eachDatabase('SQL text', (context) => {
  it('may end in a semicolon and a comment', async () => {
    const database = await context.open()
    for (const sql of ['select 5 as n;', 'select 5 as n ; -- done; really', "select 5 as n; /* 'x'; */ ;"]) {
      await expect(database.fetchAll(sql)).resolves.toEqual([{ n: 5 }])
      await expect(database.fetchVal(sql)).resolves.toBe(5)
    }
  })

  if (context.dialect === 'postgresql') {
  }

  it('is refused when it holds a NUL character', async () => {
    const database = await context.open()
    for (const text of ['select 1 \0', "select 'a\0b'", 'select 1 \0 + 2']) {
      const error = await failure(database.fetchAll(text))
      expect(error).toBeInstanceOf(QueryError)
      expect(error.message).toMatch(/NUL/)
    }
  })
})

eachDatabase('SQL text', (context) => {
  let database: Database

  beforeEach(async () => {
    database = await context.open()
  })

  it('may end in a comment behind its semicolon in execute() and iterate()', async () => {
    await database.execute('create table noted (id integer primary key)')
    expect(await database.execute('insert into noted values (1); -- note')).toMatchObject({ rowCount: 1 })
    expect(await all(database.iterate('select id from noted; -- note'))).toEqual([{ id: 1 }])
    await database.execute('drop table noted')
  })

  it('is refused when it holds no statement', async () => {
    expect(await failure(database.fetchAll(' -- nothing'))).toBeInstanceOf(ConfigurationError)
  })
})
