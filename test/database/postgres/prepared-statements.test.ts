/** The cache of prepared statements: bounded per connection, and parsed again after changes of the schema. */
import type { Client } from 'pg'
import { type Database, SerializationError } from '../../../src/database'
import { eachDatabase } from '../../support/each-database'
import { startPooler } from '../../support/pooler'
import { runScript } from '../support'

/** The statements that its connection keeps, the library's own question for them left out. */
const KEPT = `select statement from pg_prepared_statements where statement not like '%pg_prepared_statements%'`

const ONE = { pool: { size: 1, maxOverflow: 0 } }

eachDatabase('prepared statements', (context) => {
  if (context.dialect === 'sqlite') {
    it('are cached by SQLite as well, and give the columns of a table that was created again', async () => {
      const database = await context.open()
      for (const column of ['one', 'two']) {
        await database.execute(`create table again (${column} integer)`)
        await database.execute('insert into again values (:value)', { value: 5 })
        expect(await database.fetchAll('select * from again')).toEqual([{ [column]: 5 }])
        await database.execute('drop table again')
      }
    })

    it('do not keep a table locked after a partial read', async () => {
      const database = await context.open(ONE)
      await database.execute('create table part (n integer)')
      await database.execute('insert into part values (1), (2), (3)')
      expect(await database.fetchOne('select n from part limit 2')).toEqual({ n: 1 })
      expect(await database.fetchVal('values (7), (8)')).toBe(7)
      expect(await database.execute('select n from part')).toMatchObject({ rowCount: 0 })
      await database.execute('drop table part')
    })

    it('may exceed the size of the cache, and evicted ones lock nothing', async () => {
      const database = await context.open(ONE)
      await database.execute('create table many (n integer)')
      await database.execute('insert into many values (1), (2)')
      for (let round = 0; round < 2; round += 1) {
        // More than the cache holds.
        for (let n = 0; n < 250; n += 1) {
          expect(await database.fetchAll(`select n + ${n} as n from many order by n`)).toEqual([
            { n: n + 1 },
            { n: n + 2 },
          ])
        }
      }
      await database.execute('drop table many')
    })

    it('are evicted by least recent use', async () => {
      const database = await context.open(ONE)
      const prepared: string[] = []
      await database.connection(async ({ raw }) => {
        const driver = raw as { prepare(...args: unknown[]): unknown }
        const prepare = driver.prepare.bind(driver)
        driver.prepare = (...args) => {
          const text = String(args[0])
          // Not what the connection asks on its own account.
          if (!/^PRAGMA|sqlite_schema|pragma_table/.test(text)) prepared.push(text)
          return prepare(...args)
        }
        for (let n = 0; n < 250; n += 1) {
          await database.fetchVal(`select ${n}`)
          await database.fetchVal('select 1 as again')
        }
      })
      expect(prepared).toHaveLength(251)
      expect(prepared.filter((text) => text.includes('again'))).toHaveLength(1)
    })

    it('are finalized before the file is closed, at whatever moment', async () => {
      for (let round = 0; round < 20; round += 1) {
        const database = await context.open()
        const running = Array.from({ length: 3 }, (_, n) => database.fetchVal(`select ${n} + ${round}`))
        await new Promise((resolve) => setTimeout(resolve, round % 4))
        await Promise.all([database.disconnect({ graceMillis: 0 }), Promise.allSettled(running)])
        // The standing check sees that the file is closed.
        expect(database.isConnected).toBe(false)
      }
    })
    return
  }

  const keptBy = async (database: Database): Promise<unknown[]> =>
    (await database.fetchAll<{ statement: string }>(KEPT)).map(({ statement }) => statement).toSorted()

  it('are parsed once by the server, and run again by name', async () => {
    const database = await context.open(ONE)
    for (const n of [1, 2, 3]) {
      expect(await database.fetchVal('select :n::int + 1', { n })).toBe(n + 1)
    }
    expect(await keptBy(database)).toEqual(['select $1::int + 1'])
    const names =
      'select name, generic_plans + custom_plans as runs from pg_prepared_statements where statement = :text'
    expect(await database.fetchOne(names, { text: 'select $1::int + 1' })).toEqual({
      name: expect.stringMatching(/^millpond_[\w-]{22}$/),
      runs: '3',
    })
  })

  it('are limited by the option, and evicted by least recent use', async () => {
    const database = await context.open({ ...ONE, preparedStatements: 3 })
    for (const n of [1, 2, 3, 1, 4]) await database.fetchVal(`select ${n}`)
    // The query for the kept statements is one of the three.
    expect(await keptBy(database)).toEqual(['select 1', 'select 4'])
  })

  it.each([[false], [0]])('are not used with %p', async (preparedStatements) => {
    const database = await context.open({ ...ONE, preparedStatements })
    await database.fetchVal('select 1')
    await database.fetchVal('select :n::int', { n: 1 })
    expect(await database.fetchVal('select count(*)::int from pg_prepared_statements')).toBe(0)
  })

  it('include Knex builders, awaited or passed to a query method, and raw texts', async () => {
    const database = await context.open(ONE)
    await database.table('pg_class').where({ oid: 1 }).select('relname')
    await database.fetchAll(database.table('pg_class').where({ oid: 2 }).select('relname'))
    await database.knex.raw('select ?::int', [1])
    expect(await keptBy(database)).toEqual([
      'select "relname" from "pg_class" where "oid" = $1',
      'select $1::int',
    ])
  })

  it('leave no timer of pg behind when query_timeout is set', async () => {
    const settings = { knex: { connection: { query_timeout: 60_000 } } }
    const { stdout } = await runScript(`
      const { Database } = require('./src/database')
      const run = async () => {
        const database = new Database(${JSON.stringify(context.url)}, ${JSON.stringify(settings)})
        await database.connect()
        const value = await database.transaction(() => database.fetchVal('select 7'))
        await database.disconnect()
        console.log(value)
      }
      void run()`)
    expect(stdout).toBe('7\n')
  })

  it('do not include very long texts, schema changes and batches', async () => {
    const database = await context.open(ONE)
    await database.fetchVal(`select length('${'x'.repeat(10_000)}')`)
    await database.execute('create table kept (n int)')
    await database.executeMany('insert into kept values (:n)', [{ n: 1 }, { n: 2 }])
    await database.execute('drop table kept')
    expect(await keptBy(database)).toEqual([])
  })

  describe('of a table', () => {
    let database: Database
    beforeEach(async () => {
      database = await context.open(ONE)
      await context.admin('create table changing (id int primary key, a int)')
      await context.admin('insert into changing values (1, 2)')
    })
    afterEach(async () => {
      await context.admin('drop table changing')
    })
    const read = async (): Promise<unknown> =>
      database.fetchOne('select * from changing where id = :id', { id: 1 })

    it('are parsed again after another client has altered it', async () => {
      expect(await read()).toEqual({ id: 1, a: 2 })
      await context.admin("alter table changing add b text default 'new'")
      expect(await read()).toEqual({ id: 1, a: 2, b: 'new' })
      await context.admin('alter table changing alter a type text')
      expect(await read()).toEqual({ id: 1, a: '2', b: 'new' })
    })

    it('are parsed again after their own connection has altered it, in a transaction too', async () => {
      await read()
      await database.transaction(async () => {
        expect(await read()).toEqual({ id: 1, a: 2 })
        await database.execute('alter table changing add b int')
        expect(await read()).toEqual({ id: 1, a: 2, b: null })
      })
    })

    it('are parsed again in a transaction that has just begun', async () => {
      await read()
      await context.admin('alter table changing add c int')
      const options = { isolation: 'repeatable read' } as const
      const [row, isolation] = await database.transaction(
        async (tx) => [await read(), await tx.fetchVal("select current_setting('transaction_isolation')")],
        options,
      )
      expect([row, isolation]).toEqual([{ id: 1, a: 2, c: null }, 'repeatable read'])
    })

    it('fail later in a transaction with SerializationError, so that it can be retried', async () => {
      await read()
      const transaction = (retries: number): Promise<unknown> =>
        database.transaction(
          async () => {
            await database.fetchVal('select 1')
            return read()
          },
          { retries },
        )
      await context.admin('alter table changing add c int')
      await expect(transaction(0)).rejects.toThrow(SerializationError)
      await read()
      await context.admin('alter table changing add d int')
      expect(await transaction(1)).toEqual({ id: 1, a: 2, c: null, d: null })
    })

    it('give columns of any name, duplicates too', async () => {
      const sql = 'select 1 as a, 2 as a, 3 as "__proto__", null as "constructor" from changing'
      const row = await database.fetchOne(sql)
      expect(Object.entries(row ?? {})).toEqual([
        ['a', 2],
        ['__proto__', 3],
        ['constructor', null],
      ])
      expect(await database.fetchVal(sql, {}, { column: 0 })).toBe(1)
    })

    it('include statements that return no columns or no rows', async () => {
      for (const a of [3, 4]) {
        const { rowCount } = await database.execute('update changing set a = :a where id = 1', { a })
        expect(rowCount).toBe(1)
        expect(await database.fetchAll('select * from changing where id = :id', { id: 99 })).toEqual([])
      }
    })
  })

  it.each(['discard all', 'deallocate all'])('are parsed again after %s', async (sql) => {
    const database = await context.open(ONE)
    await database.connection(async (connection) => {
      expect(await connection.fetchVal('select :n::int', { n: 1 })).toBe(1)
      await connection.execute(sql)
      expect(await connection.fetchVal('select :n::int', { n: 2 })).toBe(2)
    })
  })

  it('are not used when a raw query has deallocated them', async () => {
    const database = await context.open(ONE)
    await database.connection(async (connection) => {
      const raw = connection.raw as Client
      expect(await connection.fetchVal('select :n::int', { n: 1 })).toBe(1)
      await raw.query('deallocate all')
      expect(await connection.fetchVal('select :n::int', { n: 2 })).toBe(2)
      expect(await keptBy(database)).toEqual([])
    })
  })

  it('can be used again after their statement has failed', async () => {
    const database = await context.open(ONE)
    const divide = (by: unknown): Promise<unknown> => database.fetchVal('select 6 / :by::int', { by })
    await expect(divide(0)).rejects.toThrow(/division by zero/)
    expect(await divide(2)).toBe(3)
    await expect(divide('two')).rejects.toThrow(/invalid input syntax/)
    expect(await divide(3)).toBe(2)
    await expect(database.fetchVal('select nothing from nowhere where n = :n', { n: 1 })).rejects.toThrow(
      /nowhere/,
    )
    expect(await divide(6)).toBe(1)
  })

  it('that failed to parse are prepared later', async () => {
    const database = await context.open(ONE)
    const read = (): Promise<unknown> => database.fetchVal('select n from later where n = :n', { n: 1 })
    await expect(read()).rejects.toThrow(/later/)
    await database.execute('create table later (n int)')
    await database.executeMany('insert into later values (:n)', [{ n: 1 }, { n: 2 }])
    expect(await read()).toBe(1)
    expect(await keptBy(database)).toContain('select n from later where n = $1')
    await database.execute('drop table later')
  })

  it('bind every kind of value as unprepared ones do', async () => {
    const kept = await context.open(ONE)
    const none = await context.open({ ...ONE, preparedStatements: false })
    const values = {
      text: 'Grüße, \u{1f600}', empty: '', number: -1.5, large: 2n ** 62n, yes: true, nothing: null,
      bytes: Buffer.from([0, 255, 10]), date: new Date('2026-03-08T06:30:00.123Z'), list: ['a"b', null, 'c,d'],
    } // prettier-ignore
    const sql = `select :text::text as text, :empty::text as empty, :number::float8 as number, :large::int8 as large,
      :yes::boolean as yes, :nothing::int as nothing, :bytes::bytea as bytes, :date::timestamptz as date,
      :list::text[] as list, '{"a": [1]}'::jsonb as document, '2026-03-08'::date as day, 12.50::numeric as price`
    const expected = await none.fetchOne(sql, values)
    for (let round = 0; round < 2; round += 1) expect(await kept.fetchOne(sql, values)).toEqual(expected)
    expect(expected).toMatchObject({ text: values.text, large: '4611686018427387904', list: values.list })
  })

  describe('behind a pooler', () => {
    it('are not used, since the next statement may reach another server process', async () => {
      await using pooler = await startPooler(context.url)
      const database = await context.open(ONE, pooler.url)
      for (const n of [1, 2]) expect(await database.fetchVal('select :n::int', { n })).toBe(n)
      expect(await keptBy(database)).toEqual([])
    })

    it('are used when the option asks for them', async () => {
      await using pooler = await startPooler(context.url)
      const database = await context.open({ ...ONE, preparedStatements: true }, pooler.url)
      await database.fetchVal('select :n::int', { n: 1 })
      expect(await keptBy(database)).toEqual(['select $1::int'])
    })
  })
})
