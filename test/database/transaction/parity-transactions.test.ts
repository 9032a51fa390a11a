/** What the Python library `databases` tests about transactions, and no other file here does. */
import type { Database } from '../../../src/database'
import { eachDatabase } from '../../support/each-database'
import { gate, idsOf } from '../support'

eachDatabase('transactions, as in databases', (context) => {
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

  it('that commit inside of one that is rolled back are seen until then', async () => {
    await database.transaction(
      async () => {
        await database.transaction(() => insert(1))
        expect(await idsOf(database)).toEqual([1])
      },
      { forceRollback: true },
    )
    expect(await idsOf(database)).toEqual([])
  })

  it('lend themselves to a child that was handed them', async () => {
    await database.transaction(
      async (tx) => {
        await tx.execute('insert into t values (1)')
        const child = async (): Promise<void> => {
          await new Promise(setImmediate)
          await tx.execute('update t set id = 2')
        }
        await child()
        expect(await idsOf(database)).toEqual([2])
      },
      { forceRollback: true },
    )
    expect(await committed()).toBe(0)
  })

  it('are not entered by what began before them, though it goes on meanwhile', async () => {
    const [isOpen, isSeen] = [gate(), gate()]
    const earlier = isOpen.opened.then(async () => {
      const seen = await idsOf(database)
      isSeen.open()
      return seen
    })
    await database.transaction(async () => {
      await insert(1)
      isOpen.open()
      await isSeen.opened
    })
    expect(await earlier).toEqual([])
    expect(await idsOf(database)).toEqual([1])
  })

  it('are nobody’s when they are over: what follows is committed by itself', async () => {
    await database.transaction(() => insert(1))
    await insert(2)
    expect(await committed()).toBe(2)
    expect(database.stats().used).toBe(0)
  })

  it('made of a function run beside each other', async () => {
    const add = database.transactional(async (id: number) => {
      await insert(id)
      await new Promise(setImmediate)
      return id
    })
    expect(await Promise.all([1, 2, 3, 4, 5, 6].map((id) => add(id)))).toEqual([1, 2, 3, 4, 5, 6])
    expect(await committed()).toBe(6)
  })

  it('made of a function that calls itself go inside each other', async () => {
    const countDown = database.transactional(async (id: number): Promise<number> => {
      await insert(id)
      return id === 1 ? 1 : 1 + (await countDown(id - 1))
    })
    expect(await countDown(5)).toBe(5)
    expect(await idsOf(database)).toEqual([1, 2, 3, 4, 5])
  })

  it('made of a function can be made before the database is connected', async () => {
    await database.disconnect()
    const add = database.transactional(insert)
    await database.connect()
    await add(1)
    expect(await committed()).toBe(1)
  })

  if (context.dialect === 'postgresql') {
    it('that are serializable do not see what others commit meanwhile', async () => {
      await database.transaction(
        async () => {
          expect(await idsOf(database)).toEqual([])
          await database.detached(() => insert(1))
          expect(await committed()).toBe(1)
          expect(await idsOf(database)).toEqual([])
        },
        { isolation: 'serializable' },
      )
      expect(await idsOf(database)).toEqual([1])
    })
  }
})
