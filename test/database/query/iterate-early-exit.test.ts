/** Streams that are not read to the end: break, an abandoned reader, an aborted signal, a lost connection. */
import { ConnectionError, type Database, type DatabaseOptions } from '../../../src/database'
import { all, idsOf, numbers } from '../support'
import { eachDatabase } from '../../support/each-database'
import { waitFor } from '../../support/wait-for'

eachDatabase('a stream whose reader has stopped reading', (context) => {
  const endless =
    context.dialect === 'sqlite'
      ? 'with recursive c (n) as (select 1 union all select n + 1 from c) select n from c'
      : 'select generate_series(1, 100000000) as n'
  const never = new Promise<void>(() => {})

  it.each([
    ['its signal is aborted', (signal: AbortSignal) => ({ signal }), true],
    ['its time is up', () => ({ timeoutMillis: 300 }), false],
  ])('releases its connection when %s', async (_name, optionsWith, aborts) => {
    const database = await context.open({ pool: { size: 1, maxOverflow: 0 } })
    const controller = new AbortController()
    let rows = 0
    void (async () => {
      for await (const _ of database.iterate(endless, {}, optionsWith(controller.signal))) {
        rows += 1
        await never
      }
    })()
    await waitFor(() => rows === 1)
    expect(database.stats().used).toBe(1)
    if (aborts) controller.abort()
    await waitFor(() => database.stats().used === 0)
    expect(await database.fetchVal('select 1')).toBe(1)
  })

  it('rejects the next read after it was cancelled', async () => {
    const database = await context.open({ pool: { size: 1, maxOverflow: 0 } })
    const controller = new AbortController()
    let readOn = (): void => {}
    const away = new Promise<void>((resolve) => (readOn = resolve))
    let rows = 0
    const loop = (async () => {
      for await (const _ of database.iterate(endless, {}, { signal: controller.signal })) {
        rows += 1
        await away
      }
    })()
    await waitFor(() => rows === 1)
    controller.abort()
    await waitFor(() => database.stats().used === 0)
    readOn()
    await expect(loop).rejects.toMatchObject({ code: 'QUERY_CANCELED' })
    expect(rows).toBe(1)
  })
})

eachDatabase('a stream that is left early', (context) => {
  let database: Database

  beforeEach(async () => {
    database = await context.open({ pool: { size: 1, maxOverflow: 0 } })
    await database.execute('create table t (id integer primary key, name text)')
  })
  afterEach(async () => {
    await context.admin('drop table t')
  })

  it('frees its connection before the next line after the loop', async () => {
    await database.transaction(async () => {
      for await (const _ of database.iterate(numbers(context.dialect, 1000))) break
      await database.execute("insert into t values (1, 'x')")
    })
    for await (const _ of database.iterate(numbers(context.dialect, 1000))) break
    expect(database.stats().used).toBe(0)
    expect(await idsOf(database)).toEqual([1])
  })

  it('that was never closed does not block other queries of its transaction', async () => {
    await database.transaction(async () => {
      const rows = database.iterate<{ n: number }>(numbers(context.dialect, 1000), {}, { batchSize: 2 })
      await rows.next()
      await database.execute("insert into t values (1, 'x')")
      expect(await all(database.iterate('select id from t'))).toEqual([{ id: 1 }])
    })
    expect(await idsOf(database)).toEqual([1])
  })
})

eachDatabase('a stream that is left early', (context) => {
  let database: Database

  beforeEach(async () => {
    database = await context.open({ pool: { acquireTimeoutMillis: 500 } })
    await database.execute('create table t (id integer)')
  })
  afterEach(async () => {
    await context.admin('drop table t')
  })

  const open = (options: DatabaseOptions = {}): Promise<Database> =>
    context.open({ pool: { size: 1, maxOverflow: 0 }, ...options })

  it('is closed by break without an error though its signal was aborted', async () => {
    const forced = await context.open({ forceRollback: true }, await context.createDatabase())
    const left = context.dialect === 'sqlite' ? 'sqlite_temp_schema' : "pg_cursors where name <> ''"
    for (const on of [database, forced]) {
      const controller = new AbortController()
      const rows = on.iterate(numbers(context.dialect, 100), {}, { batchSize: 2, signal: controller.signal })
      for await (const row of rows) {
        expect(row).toEqual({ n: 1 })
        controller.abort()
        break
      }
      expect(await on.fetchAll(`select name from ${left}`)).toEqual([])
    }
  })

  if (context.dialect === 'postgresql') {
    it('whose connection was just lost fails with ConnectionError, if at all', async () => {
      const database = await open()
      const query = 'select pg_backend_pid() as pid from generate_series(1, 1000)'
      const leave = async (): Promise<void> => {
        for await (const { pid } of database.iterate<{ pid: number }>(query)) {
          await context.admin(`select pg_terminate_backend(${pid})`)
          break
        }
      }
      const error = await leave().catch((thrown: unknown) => thrown)
      expect(error === undefined || error instanceof ConnectionError).toBe(true)
      expect(await database.fetchVal('select 1')).toBe(1)
    })

    it('on a held connection is closed when the connection is released', async () => {
      const database = await open()
      await database.connection(async (connection) => {
        await connection.iterate('select * from pg_class', {}, { batchSize: 1 }).next()
      })
      expect(await database.fetchAll('select name from pg_cursors where is_holdable')).toEqual([])
    })
  }
})
