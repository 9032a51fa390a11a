/** fetchOne and fetchVal give the first of the rows that fetchAll gives, however the statement is written. */
import type { Database } from '../../../src/database'
import { valueOrMessage } from '../support'
import { eachDatabase } from '../../support/each-database'

eachDatabase('the first row', (context) => {
  let database: Database

  beforeEach(async () => {
    database = await context.open()
    await database.execute('create table t (id integer primary key, name text)')
  })
  afterEach(async () => {
    await context.admin('drop table t')
  })

  it('is returned for a statement that ends in VALUES or in a comment', async () => {
    await database.execute("insert into t values (1, 'x'), (2, 'y')")
    for (const [sql, first] of [
      ['with one as (select 1) values (1), (2)', 1],
      ['select 1 as n union all values (2), (3)', 1],
      ['select id from t order by id -- all of them', 1],
      ['select id from t order by id desc; -- limit 1', 2],
      ["select ';' || 'limit' as n from t", ';limit'],
      ['select id from t where id in (select id from t order by id desc limit 1)', 2],
    ] as const) {
      expect(Object.values((await database.fetchOne(sql)) ?? {})).toEqual([first])
      expect(await database.fetchVal(sql)).toBe(first)
    }
  })

  it("is the first of fetchAll's rows, or its error, for unusual texts", async () => {
    const texts = [
      'select 1 -- one',
      'select 1 /* and */ + 1',
      'select 2;',
      ';select 3',
      'select 4 /* for ever',
      'select 1 +',
    ]
    for (const text of [...texts, "select 'a;b'", 'select id from t where', 'select 1 limit 1 -- 2']) {
      const rows = await valueOrMessage(database.fetchAll(text))
      const one = await valueOrMessage(database.fetchOne(text))
      expect(Array.isArray(rows) ? { one } : one).toEqual(
        Array.isArray(rows) ? { one: rows[0] ?? null } : rows,
      )
    }
  })

  if (context.dialect === 'sqlite') {
    it('is the first of all rows where an added LIMIT would change the result', async () => {
      await database.execute("insert into t values (1, 'x'), (2, 'y'), (3, 'z')")
      const query = 'select * from (select * from t limit 2) order by id desc'
      const [first] = await database.fetchAll(query)
      expect(await database.fetchOne(query)).toEqual(first)
    })
  }
})
