/** iterate(): rows in batches, the connection that it holds, and queries in the loop's body. */
import {
  ConfigurationError,
  ConnectionError,
  type Database,
  type DatabaseOptions,
  QueryCanceledError,
  QueryError,
} from '../../../src/database'
import { all, arrived, endless, failure, numbers, undone } from '../support'
import { eachDatabase } from '../../support/each-database'

eachDatabase('iterate', (context) => {
  let database: Database
  const few = numbers(context.dialect, 10)
  const many = numbers(context.dialect, 100_000)

  beforeEach(async () => {
    database = await context.open({ pool: { size: 1, maxOverflow: 1 } })
  })
  const isFree = (): void => {
    expect(database.stats().used).toBe(0)
  }

  it('yields every row once, in order, for any batchSize', async () => {
    for (const batchSize of [1, 3, 5, 10, 11, 256]) {
      const rows = await all(database.iterate<{ n: number }>(few, {}, { batchSize }))
      expect(rows.map(({ n }) => n)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
      isFree()
    }
  })

  it('yields nothing for no rows', async () => {
    expect(await all(database.iterate('select 1 where 1 = 0'))).toEqual([])
    isFree()
  })

  it('takes values, templates and builders', async () => {
    expect(await all(database.iterate('select :a as a', { a: 'x' }))).toEqual([{ a: 'x' }])
    const builder = database.knex
      .select('*')
      .from(database.knex.raw(`(${few}) as s`))
      .where('n', '>', 8)
    expect(await all(database.iterate(builder))).toEqual([{ n: 9 }, { n: 10 }])
  })

  it('takes no connection before the first row is read', async () => {
    const rows = database.iterate(few)
    isFree()
    await rows.return?.()
    isFree()
    expect(await rows.next()).toMatchObject({ done: true })
  })

  it('does not compute rows that are not read', async () => {
    // Row 50,000 is an error, which a database that computed it would report.
    const division = context.dialect === 'sqlite' ? "iif(n = 50000, json('{'), n)" : '1 / (50000 - n)'
    let seen = 0
    for await (const _ of database.iterate(`select ${division} as x from (${many}) as s`)) {
      seen += 1
      if (seen === 1000) break
    }
    expect(seen).toBe(1000)
    isFree()
  })

  it.each([
    ['break', false],
    ['throw', true],
  ])('frees its connection on %s', async (_, throws) => {
    const loop = async (): Promise<void> => {
      for await (const row of database.iterate<{ n: number }>(many)) {
        if (row.n < 300) continue
        if (throws) throw new Error('enough')
        break
      }
    }
    expect(await loop().catch((error: unknown) => String(error))).toBe(throws ? 'Error: enough' : undefined)
    isFree()
    expect(await database.fetchVal('select 1')).toBe(1)
  })

  it('frees its connection on return() and throw()', async () => {
    const rows = database.iterate(many)
    await rows.next()
    expect(database.stats().used).toBe(1)
    await rows.return?.()
    isFree()
    const others = database.iterate(many)
    await others.next()
    await expect(others.throw?.(new Error('in'))).rejects.toThrow('in')
    isFree()
  })

  it('frees its connection when the query fails, at once or later', async () => {
    await expect(all(database.iterate('select nothing from nowhere'))).rejects.toThrow(QueryError)
    isFree()
    const halfWay = context.dialect === 'sqlite' ? "iif(n = 600, json('{'), n)" : '1 / (600 - n)'
    await expect(all(database.iterate(`select ${halfWay} as x from (${many}) as s`))).rejects.toThrow(
      QueryError,
    )
    isFree()
    expect(await database.fetchVal('select 1')).toBe(1)
  })

  it('lets the loop body run other queries, outside of a transaction', async () => {
    const squares: number[] = []
    for await (const { n } of database.iterate<{ n: number }>(few, {}, { batchSize: 2 })) {
      squares.push((await database.fetchVal<number>('select cast(:n as integer) * :n', { n })) ?? 0)
    }
    expect(squares.at(-1)).toBe(100)
  })

  it('lets the loop body write in the same transaction, in savepoints too', async () => {
    await database.execute('create table written (id integer primary key, at integer)')
    await database.transaction(async (tx) => {
      for await (const { n } of tx.iterate<{ n: number }>(few, {}, { batchSize: 3 })) {
        await database.execute('insert into written values (:n, :n)', { n })
        const inner = database.transaction(async () => {
          await database.execute('update written set at = -1 where id = :n', { n })
          if (n % 2 === 0) throw new Error('out')
        })
        await (n % 2 === 0 ? undone(inner) : inner)
      }
    })
    expect(await database.fetchVal('select count(*) from written where at = -1').then(Number)).toBe(5)
    expect(await database.fetchVal('select count(*) from written where at > 0').then(Number)).toBe(5)
  })

  it('runs two streams at once in one transaction', async () => {
    await database.transaction(async () => {
      const [first, second] = [
        database.iterate(few, {}, { batchSize: 2 }),
        database.iterate(few, {}, { batchSize: 3 }),
      ]
      const pairs: unknown[] = []
      for (let i = 0; i < 10; i += 1) pairs.push([(await first.next()).value, (await second.next()).value])
      expect(pairs).toEqual(Array.from({ length: 10 }, (_, i) => [{ n: i + 1 }, { n: i + 1 }]))
      await Promise.all([first.return?.(), second.return?.()])
    })
    isFree()
  })

  it('streams on a held connection, between its other statements', async () => {
    await database.connection(async (connection) => {
      let seen = 0
      for await (const _ of connection.iterate(few, {}, { batchSize: 4 })) {
        seen += Number(await database.fetchVal('select 1'))
      }
      expect(seen).toBe(10)
    })
  })

  it('ends with its transaction', async () => {
    let rows: AsyncIterableIterator<object> | undefined
    await database.transaction(async (tx) => {
      rows = tx.iterate(many)
      await rows.next()
    })
    isFree()
    const rest = async (): Promise<unknown> => all(rows ?? database.iterate(few))
    await expect(rest()).rejects.toThrow(/has ended/)
    isFree()
  })

  it('yields the rows of INSERT ... RETURNING', async () => {
    await database.execute('create table changed (id integer)')
    const rows = database.iterate('insert into changed values (1), (2) returning id')
    expect(await all(rows)).toEqual([{ id: 1 }, { id: 2 }])
    expect(await database.fetchAll('select * from changed')).toHaveLength(2)
  })

  it('is cancelled by its signal while the server computes a row', async () => {
    const controller = new AbortController()
    const stopped = failure(
      all(database.iterate(endless(context.dialect), {}, { signal: controller.signal })),
    )
    await arrived(context, database)
    controller.abort()
    expect(await stopped).toBeInstanceOf(QueryCanceledError)
    isFree()
    expect(await database.fetchVal('select 1')).toBe(1)
  })

  it('is cancelled by its signal between two rows', async () => {
    const controller = new AbortController()
    const stopped = failure(
      (async () => {
        for await (const { n } of database.iterate<{ n: number }>(many, {}, { signal: controller.signal })) {
          if (n === 300) controller.abort()
        }
      })(),
    )
    expect(await stopped).toBeInstanceOf(QueryCanceledError)
    isFree()
  })

  it('refuses an invalid batchSize', () => {
    for (const batchSize of [0, -1, 1.5, NaN]) {
      expect(() => database.iterate(few, {}, { batchSize })).toThrow(ConfigurationError)
    }
  })

  if (context.dialect === 'postgresql') {
    it('frees its connection when the server terminates it', async () => {
      const rows = database.iterate<{ pid: number }>(`select pg_backend_pid() as pid from (${many}) as s`)
      const { value } = (await rows.next()) as { value: { pid: number } }
      await context.admin(`select pg_terminate_backend(${value.pid})`)
      expect(await failure(all(rows))).toBeInstanceOf(ConnectionError)
      isFree()
      expect(await database.fetchVal('select 1')).toBe(1)
    })
  }

  it('yields the rows of a VALUES list', async () => {
    const query = 'select * from (values (1), (2), (3), (4), (5)) as v'
    const rows = await all(database.iterate<Record<string, number>>(query))
    expect(rows.map((row) => Object.values(row)[0])).toEqual([1, 2, 3, 4, 5])
  })
})

eachDatabase('iterate', (context) => {
  const open = (options: DatabaseOptions = {}): Promise<Database> =>
    context.open({ pool: { size: 1, maxOverflow: 0 }, ...options })

  it('yields the plan of EXPLAIN', async () => {
    const database = await open()
    expect((await all(database.iterate('explain select 1'))).length).toBeGreaterThan(0)
  })

  it('emits no cleanup event when its query is wrong', async () => {
    const database = await open()
    let cleanups = 0
    database.on('cleanup', () => (cleanups += 1))
    await failure(all(database.iterate('select from where')))
    expect(cleanups).toBe(0)
  })

  it('does not yield the rows that its own loop inserts, in a transaction', async () => {
    const database = await open()
    await database.execute('create table streamed (id integer)')
    const first = await database.fetchAll<{ n: number }>(numbers(context.dialect, 10))
    await database.executeMany('insert into streamed values (:n)', first)
    let seen = 0
    await database.transaction(async () => {
      const rows = database.iterate<{ id: number }>('select id from streamed', {}, { batchSize: 3 })
      for await (const { id } of rows) {
        seen += 1
        if (seen > 100) throw new Error('it never ends')
        await database.execute('insert into streamed values (:id)', { id })
      }
    })
    expect(seen).toBe(10)
  })
})

eachDatabase('iterate', (context) => {
  let database: Database

  beforeEach(async () => {
    database = await context.open()
  })

  it('yields the plan of EXPLAIN inside a transaction', async () => {
    const rows = await database.transaction(() => all(database.iterate('explain select 1')))
    expect(rows.length).toBeGreaterThan(0)
  })

  it('yields the rows of a temporary table on the connection that made it', async () => {
    await database.connection(async () => {
      await database.execute('create temporary table passing (n integer)')
      await database.execute(`insert into passing ${numbers(context.dialect, 5)}`)
      expect(await all(database.iterate('select n from passing order by n'))).toEqual(
        [1, 2, 3, 4, 5].map((n) => ({ n })),
      )
      await database.execute('drop table passing')
    })
  })

  it('yields no more rows once its signal is aborted', async () => {
    const database = await context.open()
    await database.execute('create table streamed (id integer primary key)')
    await database.executeMany(
      'insert into streamed values (:id)',
      [1, 2, 3, 4, 5].map((id) => ({ id })),
    )
    const controller = new AbortController()
    let seen = 0
    const reading = (async () => {
      for await (const _ of database.iterate('select id from streamed', {}, { signal: controller.signal })) {
        seen += 1
        if (seen === 2) controller.abort()
      }
    })()
    expect(await failure(reading)).toMatchObject({ code: 'QUERY_CANCELED' })
    expect(seen).toBe(2)
  })
})

eachDatabase('iterate', (context) => {
  let database: Database

  beforeEach(async () => {
    database = await context.open({ pool: { size: 1, maxOverflow: 0 } })
    await database.execute('create table t (id integer primary key, name text)')
  })
  afterEach(async () => {
    await context.admin('drop table t')
  })

  it('does not yield the rows that its own loop inserts, on a held connection', async () => {
    await database.executeMany('insert into t (id) values (:id)', [{ id: 1 }, { id: 2 }, { id: 3 }])
    let seen = 0
    await database.connection(async () => {
      for await (const { id } of database.iterate<{ id: number }>('select id from t', {}, { batchSize: 1 })) {
        seen += 1
        if (seen > 10) break
        await database.execute('insert into t (id) values (:id)', { id: id + 100 * seen })
      }
    })
    expect(seen).toBe(3)
  })
})
