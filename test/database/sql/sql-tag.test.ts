/** The sql`…` tag: values are bound, fragments are nested. */
import { BindError, ConfigurationError, json, sql } from '../../../src/database'
import { eachDatabase } from '../../support/each-database'

eachDatabase('the sql tag', (context) => {
  const filled = async (): Promise<Awaited<ReturnType<typeof context.open>>> => {
    const database = await context.open()
    await database.execute('drop table if exists posts')
    await database.execute('create table posts (id integer primary key, author integer, title text)')
    for (const id of [1, 2, 3, 4]) {
      await database.execute(sql`insert into posts values (${id}, ${id % 2}, ${`title ${id}`})`)
    }
    return database
  }

  it('binds its values, whatever they contain', async () => {
    const database = await filled()
    const evil = "'; drop table posts; --"
    await database.execute(sql`update posts set title = ${evil} where id = ${1}`)
    await expect(database.fetchVal(sql`select title from posts where id = ${1}`)).resolves.toBe(evil)
    await expect(database.fetchVal('select count(*) from posts').then(Number)).resolves.toBe(4)
  })

  it('nests fragments, each with its own values', async () => {
    const database = await filled()
    const odd = sql`author = ${1}`
    const late = sql`id > ${1} and ${sql`id < ${4}`}`
    const query = sql`select id from posts where ${odd} and ${late} order by ${sql`id desc`}`
    await expect(database.fetchAll(query)).resolves.toEqual([{ id: 3 }])
  })

  it('accepts the same fragment twice', async () => {
    const database = await filled()
    const two = sql`${2}`
    await expect(
      database.fetchAll(sql`select id from posts where id = ${two} or id = ${two}`),
    ).resolves.toEqual([{ id: 2 }])
  })

  it('expands an array inside IN and NOT IN, an empty one too', async () => {
    const database = await filled()
    const ids = async (query: ReturnType<typeof sql>): Promise<unknown[]> =>
      (await database.fetchAll<{ id: number }>(query)).map(({ id }) => id)
    expect(await ids(sql`select id from posts where id in (${[1, 3]}) order by id`)).toEqual([1, 3])
    expect(await ids(sql`select id from posts where id not in (${[1, 3]}) order by id`)).toEqual([2, 4])
    expect(await ids(sql`select id from posts where id in (${[]}) order by id`)).toEqual([])
    expect(await ids(sql`select id from posts where id not in (${[]}) order by id`)).toEqual([1, 2, 3, 4])
  })

  it('binds null, and refuses undefined with its position in the template', async () => {
    const database = await filled()
    await database.execute(sql`update posts set title = ${null} where id = ${1}`)
    await expect(database.fetchVal(sql`select title from posts where id = ${1}`)).resolves.toBeNull()
    await expect(
      database.fetchAll(sql`select * from posts where id = ${1} and title = ${undefined}`),
    ).rejects.toThrow(/value 2 of the template is undefined/)
  })

  it('refuses an object as a value', async () => {
    const database = await filled()
    const query = sql`select * from posts where id = ${{ '>': 0 }}`
    await expect(database.fetchAll(query)).rejects.toThrow(BindError)
  })

  it('binds an object that is marked by json()', async () => {
    const database = await filled()
    await database.execute(sql`update posts set title = ${json({ a: [1, 'x'] })} where id = ${1}`)
    const text = await database.fetchVal<string>(sql`select title from posts where id = ${1}`)
    expect(JSON.parse(text ?? '')).toEqual({ a: [1, 'x'] })
  })

  it('refuses values beside its own', async () => {
    const database = await filled()
    await expect(database.fetchAll(sql`select 1`, { id: 1 })).rejects.toThrow(ConfigurationError)
    await expect(database.fetchAll(sql`select 1`, {})).resolves.toHaveLength(1)
  })

  it('does not fill a :name in its text with one of its values', async () => {
    const database = await filled()
    await expect(
      database.fetchAll(sql`select * from posts where id = :id and author = ${1}`),
    ).rejects.toThrow(/:id/)
    await expect(database.fetchVal(sql`select ':id ' || ${'x'}`)).resolves.toBe(':id x')
  })

  it('can be run more than once', async () => {
    const database = await filled()
    const query = sql`select count(*) from posts where author = ${1}`
    expect(await Promise.all([1, 2, 3].map(async () => Number(await database.fetchVal(query))))).toEqual([
      2, 2, 2,
    ])
  })
})
