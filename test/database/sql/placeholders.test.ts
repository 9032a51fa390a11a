/** Named placeholders in SQL text, as the databases run it. */
import type { Database } from '../../../src/database'
import { eachDatabase } from '../../support/each-database'

eachDatabase('placeholders', (context) => {
  it('of the driver are refused', async () => {
    const database = await context.open()
    const foreign = context.dialect === 'sqlite' ? ['?', '?1', '@a', '$a'] : ['$1']
    for (const placeholder of foreign) {
      await expect(database.fetchVal(`select ${placeholder}`)).rejects.toThrow(`'${placeholder}'`)
    }
  })

  it('are found past literals, comments and casts', async () => {
    const database = await context.open()
    const sql = `select ':x' || :a /* :y */ || '12:30' || ' {"k":v}' -- :z`
    await expect(database.fetchVal(sql, { a: '-' })).resolves.toBe(':x-12:30 {"k":v}')
  })

  it('may have names in any alphabet', async () => {
    const database = await context.open()
    const values = { größe: 1, имя: 2, 値: 3, é: 4 }
    const query =
      'select cast(:größe as integer) + cast(:имя as integer) + cast(:値 as integer) + cast(:e\u0301 as integer)'
    expect(await database.fetchVal(query, values)).toBe(10)
  })

  if (context.dialect === 'postgresql') {
    it('are not confused with casts, slices, dollar quotes and the operators of jsonb', async () => {
      const database = await context.open()
      await expect(database.fetchVal('select :a::int + 1', { a: '4' })).resolves.toBe(5)
      await expect(database.fetchVal('select (array[1,2,3])[2:3]')).resolves.toEqual([2, 3])
      await expect(database.fetchVal(`select '{"a":1}'::jsonb ? :key`, { key: 'a' })).resolves.toBe(true)
      await expect(
        database.fetchVal(`select '{"a":1}'::jsonb ?| :keys::text[]`, { keys: ['b', 'a'] }),
      ).resolves.toBe(true)
      await expect(database.fetchVal('select $q$:a "$q$ || :b', { b: 'x' })).resolves.toBe(':a "x')
    })
  }
})

eachDatabase('JSON in SQL text', (context) => {
  let database: Database

  beforeEach(async () => {
    database = await context.open({ pool: { size: 1, maxOverflow: 0 } })
    await database.execute('create table t (id integer primary key, name text)')
  })
  afterEach(async () => {
    await context.admin('drop table t')
  })

  it('is not read as a placeholder', async () => {
    await database.execute(`insert into t values (:id, '{"a":1,"b":null,"c":"x"}')`, { id: 1 })
    expect(await database.fetchVal("select name from t where name like '{%:1,%}'")).toBe(
      '{"a":1,"b":null,"c":"x"}',
    )
  })
})
