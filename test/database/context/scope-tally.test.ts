/** The tally of a scope: its statements, its time of waiting for connections and its time in the database, each counted once. */
import { runInScope, type Tally } from '../../../src/database'
import { eachDatabase } from '../../support/each-database'
import { waitFor } from '../../support/wait-for'

const empty = (): Tally => ({ statements: 0, waitMillis: 0, databaseMillis: 0 })

eachDatabase('the tally of a scope', (context) => {
  it('counts statements, BEGIN and COMMIT included, and the time that they took', async () => {
    const database = await context.open()
    const tally = empty()
    await runInScope({ tally }, async () => {
      await database.fetchVal('select 1')
      expect(tally.statements).toBe(1)
      await database.transaction(async (tx) => {
        await tx.fetchVal('select 1')
        await database.knex.raw('select 2')
      })
      await expect(database.fetchVal('select nothing_like_it')).rejects.toThrow('nothing_like_it')
    })
    expect(tally.statements).toBe(6)
    expect(tally.databaseMillis).toBeGreaterThan(0)
    await database.fetchVal('select 1')
    expect(tally.statements).toBe(6)
  })

  it('counts as many statements as there are query events', async () => {
    const database = await context.open()
    await database.execute('create table counted (id integer)')
    let told = 0
    database.on('query', () => void (told += 1))
    const tally = empty()
    await runInScope({ tally }, async () => {
      await database.executeMany(
        'insert into counted (id) values (:id)',
        [1, 2, 3].map((id) => ({ id })),
      )
      for await (const _row of database.iterate('select id from counted', {}, { batchSize: 1 }));
      await Promise.all([1, 2, 3, 4].map(() => database.fetchAll(database.table('counted'))))
    })
    expect(told).toBeGreaterThan(7)
    expect(tally.statements).toBe(told)
  })

  it("counts only its own scope's statements when many scopes run at once", async () => {
    const database = await context.open({ pool: { size: 2 } })
    const tallies = Array.from({ length: 8 }, empty)
    await Promise.all(
      tallies.map((tally, n) =>
        runInScope({ tally }, async () => {
          for (let count = 0; count < n; count += 1) await database.fetchVal('select 1')
        }),
      ),
    )
    expect(tallies.map(({ statements }) => statements)).toEqual([0, 1, 2, 3, 4, 5, 6, 7])
    await using connection = await database.acquire()
    const tally = empty()
    await runInScope({ tally }, () => connection.fetchVal('select 1'))
    expect(tally).toMatchObject({ statements: 1, waitMillis: 0 })
  })

  it('includes inner scopes without a tally of their own, and no detached work', async () => {
    const database = await context.open()
    const tally = empty()
    const inner = empty()
    await runInScope({ tally }, async () => {
      await runInScope({ label: 'inside' }, () => database.fetchVal('select 1'))
      await runInScope({ tally: inner }, () => database.fetchVal('select 1'))
      await database.detached(() => database.fetchVal('select 1'))
    })
    expect([tally.statements, inner.statements]).toEqual([1, 1])
  })

  it('counts the time of waiting for a connection, also when the wait fails', async () => {
    const database = await context.open({ pool: { size: 1, maxOverflow: 0 } })
    const tally = empty()
    const holder = await database.acquire()
    const late = runInScope({ tally }, () => database.fetchVal('select 1', {}, { timeoutMillis: 60 }))
    await expect(late).rejects.toThrow('60 ms')
    expect(tally).toMatchObject({ statements: 0, databaseMillis: 0 })
    expect(tally.waitMillis).toBeGreaterThanOrEqual(55)
    const inVain = tally.waitMillis
    const waiting = runInScope({ tally }, () => database.fetchVal('select 1', {}, { timeoutMillis: 20_000 }))
    await waitFor(() => database.stats().waiting === 1)
    await holder.release()
    await waiting
    expect(tally.waitMillis).toBeGreaterThan(inVain)
    expect(tally.statements).toBe(1)
  })
})
