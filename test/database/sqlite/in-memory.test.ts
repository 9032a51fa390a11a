/** A SQLite database in memory: one connection, which keeps its tables and runs streams beside other queries. */
import { Database } from '../../../src/database'
import { endless, failure, idsOf, numbers } from '../support'
import { eachDatabase } from '../../support/each-database'

eachDatabase('a database in memory', (context) => {
  if (context.dialect === 'sqlite') {
    it('keeps its tables until disconnect()', async () => {
      const database = context.track(new Database(context.memoryUrl))
      await database.connect()
      await database.execute('create table notes (id integer)')
      await Promise.all([1, 2, 3].map((id) => database.execute('insert into notes values (:id)', { id })))
      expect(await database.fetchVal('select count(*) from notes')).toBe(3)
      await database.disconnect()
      await database.connect()
      await expect(database.fetchVal('select count(*) from notes')).rejects.toThrow(/no such table/)
    })

    it("runs queries in the body of a stream's loop", async () => {
      const database = await context.open({}, context.memoryUrl)
      await database.execute('create table notes (id integer)')
      await database.executeMany('insert into notes values (:id)', [{ id: 1 }, { id: 2 }, { id: 3 }])
      let seen = 0
      for await (const { id } of database.iterate<{ id: number }>(
        'select * from notes',
        {},
        { batchSize: 1 },
      )) {
        seen += 1
        if (seen > 10) break
        await database.execute('insert into notes values (:id)', { id })
      }
      expect(seen).toBe(3)
    })

    it('is not shared by two Databases', async () => {
      const [first, second] = [
        await context.open({}, context.memoryUrl),
        await context.open({}, context.memoryUrl),
      ]
      await first.execute('create table notes (id integer)')
      await expect(second.fetchAll('select * from notes')).rejects.toThrow(/no such table/)
    })

    it('can be streamed beside other queries', async () => {
      const database = await context.open({}, context.memoryUrl)
      await database.execute('create table t (id integer)')
      await database.execute('insert into t values (1), (2), (3), (4), (5)')
      const seen: number[] = []
      for await (const { id } of database.iterate<{ id: number }>('select id from t', {}, { batchSize: 2 })) {
        seen.push(id + ((await database.fetchVal<number>('select 0')) ?? 0))
      }
      expect(seen).toEqual([1, 2, 3, 4, 5])
    })

    it('keeps its tables when a write in a savepoint is interrupted', async () => {
      const database = await context.open({}, context.memoryUrl)
      await database.execute('create table t (id integer)')
      const slow = `insert into t ${endless('sqlite')}`
      const interrupted = database.transaction(() =>
        database.transaction((tx) => tx.execute(slow, {}, { timeoutMillis: 50 })),
      )
      expect((await failure(interrupted)).name).toBe('QueryTimeoutError')
      expect(await idsOf(database)).toEqual([])
    })
  }

  it('accepts a stream of itself as the source of executeMany()', async () => {
    await using database = new Database('sqlite://', { pool: { acquireTimeoutMillis: 2000 } })
    await database.connect()
    await database.execute('create table t (id integer)')
    const rows = database.iterate<{ id: number }>(
      numbers('sqlite', 1000).replace('select n from', 'select n as id from'),
    )
    expect(await database.executeMany('insert into t (id) values (:id)', rows)).toEqual({ rowCount: 1000 })
    expect(await database.fetchVal('select count(*) from t')).toBe(1000)
  })
})
