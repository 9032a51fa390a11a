/** Knex builders on a Database: awaited, streamed, in transactions, schema changes, timeouts. */
import knex, { type Knex } from 'knex'
import {
  BindError,
  ConfigurationError,
  type Database,
  QueryTimeoutError,
  sql,
  TransactionClosedError,
} from '../../../src/database'
import { all, endless, failure, gate, idsOf, numbers, undone } from '../support'
import { eachDatabase } from '../../support/each-database'
import { waitFor } from '../../support/wait-for'

const { KnexTimeoutError } = knex

eachDatabase('Knex', (context) => {
  let database: Database

  beforeEach(async () => {
    database = await context.open({ pool: { size: 2, maxOverflow: 0 } })
    await database.execute('create table t (id integer primary key, name text)')
  })
  afterEach(async () => {
    await context.admin('drop table t')
  })

  it('runs an awaited builder', async () => {
    await database.table('t').insert([
      { id: 1, name: 'a' },
      { id: 2, name: 'b' },
    ])
    expect(await database.table('t').where('id', '>', 1)).toEqual([{ id: 2, name: 'b' }])
    expect(await database.table('t').first('name').where({ id: 1 })).toEqual({ name: 'a' })
    expect(await database.table('t').orderBy('id').pluck('id')).toEqual([1, 2])
    expect(await database.table('t').where({ id: 1 }).update({ name: 'c' })).toBe(1)
    expect(await database.table('t').insert({ id: 3 }).returning('id')).toEqual([{ id: 3 }])
    expect(await database.table('t').insert({ id: 3, name: 'd' }).onConflict('id').merge()).toBeDefined()
    expect(await database.table('t').del()).toBe(3)
    expect(database.stats().used).toBe(0)
  })

  it('inserts NULL where a row lacks a key of the others', async () => {
    const rows = [{ id: 1, name: 'a' }, { id: 2 }]
    await database.table('t').insert(rows)
    await database.knex.batchInsert('t', [{ id: 3 }, { id: 4, name: 'd' }])
    await database
      .table('t')
      .insert([{ id: 2, name: 'b' }, { id: 4 }])
      .onConflict('id')
      .merge()
    await database.execute(database.table('t').insert([{ id: 5 }, { id: 6, name: 'f' }]))
    await database.table('t').insert({ id: 7, name: undefined })
    expect(await database.table('t').orderBy('id').pluck('name')).toEqual([
      'a',
      'b',
      null,
      null,
      null,
      'f',
      null,
    ])
  })

  it('refuses builders and texts without a statement, such as insert([])', async () => {
    const raw = (text: string): Knex.Raw => database.knex.raw(text)
    const calls: (() => Promise<unknown>)[] = [
      async () => await database.table('t').insert([]),
      async () => await raw(''),
      () => database.execute(database.table('t').insert([])),
      () => database.fetchAll(database.table('t').insert([]).returning('id')),
      async () => await all(database.iterate(database.table('t').insert([]).returning('id'))),
      () => database.execute(raw('-- nothing')),
      () => database.fetchOne(raw(' /* nothing */ ; ')),
      () => database.fetchOne('-- nothing'),
      () => database.execute(';'),
      () => database.execute(sql``),
    ]
    for (const call of calls) {
      await expect(call()).rejects.toThrow(ConfigurationError)
      await expect(call()).rejects.toThrow(/empty/)
    }
    await database.transaction(async () => {
      for (const call of calls) await expect(call()).rejects.toThrow(/empty/)
      await database.execute('insert into t (id) values (1)')
    })
    expect(await database.table('t').pluck('id')).toEqual([1])
    expect(database.stats()).toMatchObject({ used: 0, retired: 0 })
  })

  it('answers questions about the schema', async () => {
    expect(await database.knex.schema.hasTable('t')).toBe(true)
    expect(await database.knex.schema.hasColumn('t', 'nothing')).toBe(false)
    expect(Object.keys(await database.table('t').columnInfo())).toEqual(['id', 'name'])
  })

  it('joins the transaction of its scope', async () => {
    await undone(
      database.transaction(async () => {
        await database.table('t').insert({ id: 1 })
        await database.knex('t').insert({ id: 2 })
        await database.knex.raw('insert into t (id) values (?)', [3])
        await database.knex.schema.alterTable('t', (table) => table.text('more'))
        expect(await database.table('t').pluck('id')).toEqual([1, 2, 3])
        throw new Error('out')
      }),
    )
    expect(await database.fetchAll('select * from t')).toEqual([])
    expect(await database.knex.schema.hasColumn('t', 'more')).toBe(false)
  })

  it('refuses a builder of a transaction that has ended', async () => {
    const ended = gate()
    let late: Promise<Error> | undefined
    await database.transaction(async () => {
      const builder = database.table('t').insert({ id: 1 })
      late = failure(ended.opened.then(() => builder))
    })
    ended.open()
    expect(await late).toBeInstanceOf(TransactionClosedError)
    expect(await idsOf(database)).toEqual([])
  })

  it("rejects with Knex's own error when Knex cannot compile the builder, and with a BindError from a query method", async () => {
    const wrong = (): ReturnType<typeof database.table> => database.table('t').where({ id: undefined })
    for (const awaited of [
      async () => wrong(),
      () => database.transaction(async () => wrong()),
      async () => database.knex.raw('select ?', [1, 2]),
      async () => all(wrong().stream()),
    ])
      expect((await failure(awaited())).message).toMatch(/^(?:Undefined binding|Expected 2 bindings)/)
    const error = await failure(database.fetchAll(wrong()))
    expect(error).toBeInstanceOf(BindError)
    expect(error.message).toMatch(/^Knex cannot make a statement of its builder: Undefined binding/)
    expect(error.cause).toBeInstanceOf(Error)
    const listened = database.table('t').on('start', () => {
      throw new RangeError('of the listener')
    })
    expect(await failure(Promise.resolve(listened))).toBeInstanceOf(RangeError)
    expect(database.stats().used).toBe(0)
  })

  it('runs a builder on the transaction that it is passed to', async () => {
    const builder = database.table('t').insert({ id: 1 })
    const tx = await database.begin()
    await tx.execute(builder)
    expect(await tx.fetchVal(database.table('t').count())).toBeTruthy()
    await tx.rollback()
    expect(await idsOf(database)).toEqual([])
    await database.execute(builder.clone())
    expect(await idsOf(database)).toEqual([1])
  })

  describe('and its streams', () => {
    const many = (): ReturnType<typeof database.knex.select> =>
      database.knex.select('*').from(database.knex.raw(`(${numbers(context.dialect, 5000)}) as s`))

    it('yield every row', async () => {
      let sum = 0
      for await (const row of many().stream()) sum += (row as { n: number }).n
      expect(sum).toBe(12_502_500)
      expect(database.stats().used).toBe(0)
    })

    it('free their connection when the loop is left', async () => {
      for await (const row of many().stream()) {
        if ((row as { n: number }).n === 100) break
      }
      await expect(
        (async () => {
          for await (const row of many().stream()) throw new Error(`at ${JSON.stringify(row)}`)
        })(),
      ).rejects.toThrow('at {"n":1}')
      // Node does not wait for the end of a stream whose loop was left.
      await waitFor(() => database.stats().used === 0)
      expect(await database.fetchVal('select 1')).toBe(1)
    })

    it('read in the transaction of their scope', async () => {
      await undone(
        database.transaction(async () => {
          await database.table('t').insert({ id: 1 })
          const rows: unknown[] = []
          for await (const row of database.table('t').select('id').stream()) rows.push(row)
          expect(rows).toEqual([{ id: 1 }])
          throw new Error('out')
        }),
      )
    })

    it("settle the handler's promise when they end, and when they fail", async () => {
      const rows: unknown[] = []
      await database.table('t').stream((stream) => stream.on('data', (row) => rows.push(row)))
      await database.table('t').insert({ id: 1 })
      await database
        .table('t')
        .select('id')
        .stream((stream) => stream.on('data', (row) => rows.push(row)))
      expect(rows).toEqual([{ id: 1 }])
      const failing = database.knex('nowhere').stream((stream) => stream.resume())
      await expect(failing).rejects.toThrow(/nowhere/)
      expect(database.stats().used).toBe(0)
    })
  })

  it('changes the schema by execute, in a transaction too', async () => {
    const make = (name: string): ReturnType<typeof database.knex.schema.createTable> =>
      database.knex.schema.createTable(name, (table) => {
        table.increments('id')
        table.string('email').notNullable().unique()
        table.integer('t').references('t.id').index()
      })
    await database.execute(make('made'))
    await database.execute("insert into made (email) values ('x')")
    await undone(
      database.transaction(async () => {
        await database.execute(make('undone'))
        throw new Error('out')
      }),
    )
    expect(await database.knex.schema.hasTable('made')).toBe(true)
    expect(await database.knex.schema.hasTable('undone')).toBe(false)
    await database.knex.schema.dropTable('made')
  })

  it('cancels the statement on a timeout of the builder, and its connection can be used again', async () => {
    const single = await context.open({ pool: { size: 1, maxOverflow: 0 } })
    const { created } = single.stats()
    const text = endless(context.dialect)
    for (const cancel of [true, false]) {
      const slow = (): Knex.Raw => single.knex.raw(text).timeout(50, { cancel })
      const nested = (): Knex.QueryBuilder => single.knex.select().from(single.knex.raw(`(${text}) as s`))
      for (const run of [
        async (): Promise<unknown> => slow(),
        async (): Promise<unknown> => nested().timeout(50, { cancel }),
        () => single.knex.transaction(async (trx) => trx.raw(text).timeout(50, { cancel })),
      ]) {
        const error = await failure(run())
        expect(error).toBeInstanceOf(KnexTimeoutError)
        expect(error).toMatchObject({
          message: 'Defined query timeout of 50ms exceeded when running query.',
          timeout: 50,
          cause: expect.any(QueryTimeoutError) as unknown,
        })
      }
      for (const run of [() => single.fetchAll(slow()), () => single.iterate(slow()).next()]) {
        const error = await failure(run())
        expect(error).toBeInstanceOf(QueryTimeoutError)
        expect(error.message).toContain('timeout(50)')
      }
    }
    expect(await single.knex.raw('select 1').timeout(5000)).toBeDefined()
    expect(await single.fetchVal('select 1')).toBe(1)
    expect(single.stats()).toMatchObject({ created, used: 0 })
  })

  it('stores nothing of a statement whose timeout is over', async () => {
    const slow = numbers(context.dialect, 50_000_000)
    const late = failure(Promise.resolve(database.knex.raw(`insert into t (id) ${slow}`).timeout(50)))
    expect(await late).toBeInstanceOf(KnexTimeoutError)
    await database.execute('insert into t (id) values (0)', {}, { timeoutMillis: 2000 })
    expect(await idsOf(database)).toEqual([0])
  })

  it('cannot be destroyed, since it belongs to its Database', async () => {
    await expect(database.knex.destroy()).rejects.toThrow(ConfigurationError)
    await expect(database.knex.destroy()).rejects.toThrow(/database\.disconnect\(\)/)
    expect(await database.fetchVal('select 1')).toBe(1)
  })

  it('refuses builders when the Database is not connected', async () => {
    await database.disconnect()
    await expect(Promise.resolve(database.table('t'))).rejects.toThrow(/not connected/)
    await database.connect()
  })
})

eachDatabase('Knex', (context) => {
  let database: Database

  beforeEach(async () => {
    database = await context.open({ pool: { size: 1, maxOverflow: 0, acquireTimeoutMillis: 1000 } })
    await database.execute('create table t (id integer primary key)')
  })
  afterEach(async () => {
    await context.admin('drop table t')
  })

  it('drops a column, inside a transaction and outside', async () => {
    const drop = (name: string): ReturnType<typeof database.knex.schema.alterTable> =>
      database.knex.schema.alterTable('t', (table) => {
        table.dropColumn(name)
      })
    for (const name of ['a', 'b', 'c', 'd']) await database.execute(`alter table t add column ${name} text`)
    await database.execute('insert into t (id) values (1)')
    await drop('a')
    await database.execute(drop('b'))
    await database.transaction(() => database.execute(drop('c')))
    await failure(
      database.transaction(async () => {
        await database.execute('insert into t (id) values (2)')
        await drop('d')
        throw new Error('out')
      }),
    )
    expect(await database.fetchAll('select * from t')).toEqual([{ id: 1, d: null }])
    const enforced = context.dialect === 'sqlite' ? 'pragma foreign_keys' : 'select 1'
    expect(await database.fetchVal(enforced)).toBe(1)
  })
})

eachDatabase('Knex', (context) => {
  let database: Database

  beforeEach(async () => {
    database = await context.open({ pool: { acquireTimeoutMillis: 500 } })
    await database.execute('create table t (id integer)')
  })
  afterEach(async () => {
    await context.admin('drop table t')
  })

  it('cancels a schema change at its time limit', async () => {
    if (context.dialect === 'sqlite') return // It has no statement that lasts and changes nothing.
    const change = database.knex.schema.raw('select pg_sleep(30)').raw('select 1')
    const error = await failure(database.execute(change, undefined, { timeoutMillis: 100 }))
    expect(error).toBeInstanceOf(QueryTimeoutError)
  })
})

eachDatabase('Knex', (context) => {
  let database: Database

  beforeEach(async () => {
    database = await context.open()
    await database.execute('create table t (id integer primary key, name text)')
  })
  afterEach(async () => {
    await context.admin('drop table t')
  })

  it('refuses a value that cannot be bound', async () => {
    if (context.dialect === 'postgresql') return // pg binds anything as text.
    for (const value of [Number.NaN, Symbol('x')]) {
      const error = await failure(database.fetchAll(database.table('t').where('id', value as never)))
      expect(error).toBeInstanceOf(BindError)
      const awaited = await failure(Promise.resolve(database.table('t').where('id', value as never)))
      expect(awaited).toBeInstanceOf(BindError)
    }
  })

  it('rejects with a BindError for a builder that Knex cannot compile', async () => {
    const database = await context.open()
    const unfinished = [
      database.table('t').where('id', undefined as never),
      database.knex.raw('select ?, ?', [1]),
    ]
    for (const builder of unfinished) {
      for (const way of [
        () => database.fetchAll(builder as never),
        () => database.execute(builder as never),
        async () => all(database.iterate(builder as never)),
      ]) {
        const error = await failure(way())
        expect(error).toBeInstanceOf(BindError)
        expect(error.message).toMatch(/undefined|Expected 1 bindings/i)
      }
    }
  })
})
