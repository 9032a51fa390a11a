/** transactional(work): a function whose every call is a transaction. */
import type { Database } from '../../../src/database'
import { idsOf, undone } from '../support'
import { eachDatabase } from '../../support/each-database'

eachDatabase('a transactional function', (context) => {
  let database: Database

  beforeEach(async () => {
    database = await context.open({ pool: { size: 3, maxOverflow: 0 } })
    await database.execute('create table t (id integer primary key)')
  })
  afterEach(async () => {
    await context.admin('drop table t')
  })
  const insert = (id: number): Promise<unknown> => database.execute('insert into t values (:id)', { id })
  const committed = async (): Promise<number> =>
    Number((await context.admin('select count(*) as n from t'))[0]?.['n'])

  it('commits each call, and joins the transaction of its caller', async () => {
    const add = database.transactional(async (id: number, fails: boolean) => {
      await insert(id)
      if (fails) throw new Error('out')
      return id
    })
    expect(await add(1, false)).toBe(1)
    await expect(add(2, true)).rejects.toThrow('out')
    await undone(
      database.transaction(async () => {
        await add(3, false)
        throw new Error('out')
      }),
    )
    expect(await idsOf(database)).toEqual([1])
  })

  it('can be called concurrently', async () => {
    const add = database.transactional(async (id: number) => {
      await insert(id)
      await new Promise(setImmediate)
      return id
    })
    expect(await Promise.all([1, 2, 3, 4, 5, 6].map((id) => add(id)))).toEqual([1, 2, 3, 4, 5, 6])
    expect(await committed()).toBe(6)
  })

  it('may call itself, which nests the transactions', async () => {
    const countDown = database.transactional(async (id: number): Promise<number> => {
      await insert(id)
      return id === 1 ? 1 : 1 + (await countDown(id - 1))
    })
    expect(await countDown(5)).toBe(5)
    expect(await idsOf(database)).toEqual([1, 2, 3, 4, 5])
  })

  it('can be made before the Database is connected', async () => {
    await database.disconnect()
    const add = database.transactional(insert)
    await database.connect()
    await add(1)
    expect(await committed()).toBe(1)
  })
})

eachDatabase('a transactional method', (context) => {
  let database: Database

  beforeEach(async () => {
    database = await context.open()
    await database.execute('create table t (id integer primary key, name text)')
  })
  afterEach(async () => {
    await context.admin('drop table t')
  })

  it('keeps its object as this', async () => {
    class Names {
      readonly name = 'kept'
      readonly add = database.transactional(async function (this: Names, id: number) {
        await database.execute('insert into t values (:id, :name)', { id, name: this.name })
      })
    }
    await new Names().add(7)
    expect(await database.fetchVal('select name from t where id = 7')).toBe('kept')
  })
})
