/** iterate() on a connection of its own fetches one batch ahead of its reader, which changes nothing else. */
import { type Database, QueryCanceledError, QueryError } from '../../../src/database'
import { eachDatabase } from '../../support/each-database'
import { waitFor } from '../../support/wait-for'
import { failure, numbers, running } from '../support'

eachDatabase('a batch that iterate() fetches ahead', (context) => {
  let database: Database
  const isSqlite = context.dialect === 'sqlite'
  const many = numbers(context.dialect, 100_000)
  /** In the third batch of 100 rows. */
  const at250 = (value: string): string =>
    `select n, case when n = 250 then ${value} end as x from (${many}) as s`
  const stuck = at250(
    isSqlite
      ? '(with recursive c (i) as (select 1 union all select i + 1 from c where n > 0) select count(*) from c)'
      : "pg_sleep(600)::text || 'stuck'",
  )
  const wrong = at250(isSqlite ? "json('{')" : '1 / (250 - n)')

  beforeEach(async () => {
    database = await context.open({ pool: { size: 1, maxOverflow: 0 } })
  })

  it('is cancelled when the loop is left', async () => {
    let seen = 0
    for await (const _ of database.iterate(stuck, {}, { batchSize: 100 })) {
      seen += 1
      if (seen === 150) {
        await running(database, 'n = 250')
        break
      }
    }
    expect(database.stats().used).toBe(0)
    expect(await database.fetchVal('select 1')).toBe(1)
  })

  it('is cancelled by the signal, whether or not the reader reads on', async () => {
    const controller = new AbortController()
    const never = new Promise<void>(() => {})
    const { signal } = controller
    let seen = 0
    void (async () => {
      for await (const _ of database.iterate(stuck, {}, { batchSize: 100, signal })) {
        seen += 1
        if (seen === 150) await never
      }
    })()
    await waitFor(() => seen === 150)
    await running(database, 'n = 250')
    controller.abort()
    await waitFor(() => database.stats().used === 0)
    expect(await database.fetchVal('select 1')).toBe(1)
  })

  it('rejects a waiting loop when the signal is aborted', async () => {
    const controller = new AbortController()
    const { signal } = controller
    let seen = 0
    const loop = (async () => {
      for await (const _ of database.iterate(stuck, {}, { batchSize: 100, signal })) {
        seen += 1
        if (seen === 200) setTimeout(() => controller.abort(), 50)
      }
    })()
    expect(await failure(loop)).toBeInstanceOf(QueryCanceledError)
    expect(seen).toBe(200)
  })

  it('reports its error only after the rows before it', async () => {
    let seen = 0
    const loop = (async () => {
      for await (const _ of database.iterate(wrong, {}, { batchSize: 100 })) seen += 1
    })()
    expect(await failure(loop)).toBeInstanceOf(QueryError)
    expect(seen).toBe(200)
    expect(await database.fetchVal('select 1')).toBe(1)
  })

  it('reports no error when the loop is left before it', async () => {
    let seen = 0
    for await (const _ of database.iterate(wrong, {}, { batchSize: 100 })) {
      seen += 1
      if (seen === 150) break
    }
    expect(await database.fetchVal('select 1')).toBe(1)
  })

  it('keeps concurrent calls of next() in order', async () => {
    const rows = database.iterate<{ n: number }>(many, {}, { batchSize: 100 })
    const results = await Promise.all(Array.from({ length: 450 }, () => rows.next()))
    expect(results.map(({ value }) => value?.n)).toEqual(Array.from({ length: 450 }, (_, i) => i + 1))
    const last = await Promise.all([rows.next(), rows.return?.(), rows.next()])
    expect(last.map((one) => one?.done)).toEqual([false, true, true])
    expect(database.stats().used).toBe(0)
  })

  if (!isSqlite) {
    it('holds many small rows or few large ones', async () => {
      let batches = 0
      database.on('query', () => (batches += 1))
      const batchesOf = async (query: string): Promise<number> => {
        batches = 0
        for await (const _ of database.iterate(query));
        return batches
      }
      const light = await batchesOf(numbers(context.dialect, 10_000))
      const heavy = await batchesOf("select repeat('x', 100000) as x from generate_series(1, 400)")
      expect(light).toBeLessThan(16)
      // The first batch has 256 rows, of unknown size, and the later ones ten each.
      expect(heavy).toBeGreaterThan(14)
    })
  }
})
