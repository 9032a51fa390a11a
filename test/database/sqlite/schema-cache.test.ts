/** The schema cache of SQLite: types of columns follow changes of the schema, by each connection's view of it. */
import { rmSync, writeFileSync } from 'node:fs'
import { type Database, DatabaseURL } from '../../../src/database'
import { all, failure, valueOrMessage } from '../support'
import { eachDatabase } from '../../support/each-database'
import { waitFor } from '../../support/wait-for'

eachDatabase('the types of columns', (context) => {
  const bool = { id: 1, ok: true }
  const pathOf = (url: string): string => new DatabaseURL(url).database
  let database: Database
  let tables = 0
  let table: string

  beforeEach(async () => {
    database = await context.open()
    table = `t${(tables += 1)}`
    await database.execute(`create table ${table} (id integer)`)
    await database.execute(`insert into ${table} values (1), (2), (3)`)
  })

  afterEach(() => context.admin(`drop table if exists ${table}`))

  it('follow a change by another process, in a transaction too', async () => {
    const read = `select * from ${table} where id = 1`
    expect(await database.fetchAll(read)).toEqual([{ id: 1 }])
    await context.admin(`alter table ${table} add column ok boolean default true`)
    const isKnown = async (): Promise<boolean> => {
      const [row] = await database.transaction((tx) => tx.fetchAll<{ ok?: unknown }>(read))
      return row?.ok === true
    }
    await waitFor(isKnown)
    expect(await database.fetchAll(read)).toEqual([bool])
  })

  // PostgreSQL sends the types with every result; the tests below are about files.
  if (context.dialect !== 'sqlite') return

  it('are read again once after a change by this process, however many transactions follow', async () => {
    const checks: string[] = []
    const traced = await context.open({
      pool: { size: 1, maxOverflow: 0 },
      afterConnect: (connection) => {
        const raw = connection.raw as { on(event: 'trace', listener: (sql: string) => void): void }
        raw.on('trace', (sql) => {
          if (/schema_version/.test(sql)) checks.push(sql)
        })
        return Promise.resolve()
      },
    })
    await database.execute(`alter table ${table} add column note text`)
    const read = (): Promise<unknown> =>
      traced.transaction((tx) => tx.fetchAll(`select * from ${table} where id = 1`))
    const started = performance.now()
    for (let i = 0; i < 20; i += 1) await read()
    // Changes by other processes are looked for once a second as well.
    expect(checks.length).toBeLessThanOrEqual(2 + (performance.now() - started) / 1000)
  })

  it("are those of each connection's view while a transaction sees the old schema", async () => {
    const old = await database.begin({ readOnly: true })
    const read = `select * from ${table} where id = 1`
    expect(await old.fetchAll(read)).toEqual([{ id: 1 }])
    await database.execute(`alter table ${table} add column ok boolean default true`)
    expect(await all(database.iterate(read))).toEqual([bool])
    expect(await old.fetchAll(read)).toEqual([{ id: 1 }])
    expect(await all(old.iterate(read))).toEqual([{ id: 1 }])
    await old.rollback()
    expect(await database.fetchAll(read)).toEqual([bool])
    expect(await all(database.iterate(read))).toEqual([bool])
  })

  it('are new once a transaction that could not see the change has ended', async () => {
    const single = await context.open({ pool: { size: 1, maxOverflow: 0 } })
    const read = `select * from ${table} where id = 1`
    const old = await single.begin({ readOnly: true })
    expect(await old.fetchAll(read)).toEqual([{ id: 1 }])
    await database.execute(`alter table ${table} add column ok boolean default true`)
    expect(await all(old.iterate(read))).toEqual([{ id: 1 }])
    await old.rollback()
    expect(await single.fetchAll(read)).toEqual([bool])
  })

  it('are the old ones after a change was rolled back', async () => {
    const single = await context.open({ pool: { size: 1, maxOverflow: 0 } })
    const read = `select * from ${table} where id = 1`
    await single.execute(`alter table ${table} add column ok boolean default true`)
    const changing = single.transaction(async (tx) => {
      await tx.execute(`drop table ${table}`)
      await tx.execute(`create table ${table} (id boolean)`)
      await tx.execute(`insert into ${table} values (1)`)
      expect(await tx.fetchAll(read)).toEqual([{ id: true }])
      throw new Error('out')
    })
    expect((await failure(changing)).message).toBe('out')
    expect(await single.fetchAll(read)).toEqual([bool])
  })

  it('are new when the file was replaced', async () => {
    const url = await context.createDatabase()
    const read = async (): Promise<unknown[]> => {
      const reader = await context.open({}, url)
      const found = [
        ...(await reader.fetchAll('select * from f')),
        ...(await all(reader.iterate('select * from f'))),
      ]
      await reader.disconnect()
      return found
    }
    await prepare(url, 'create table f (id integer, ok boolean)', 'insert into f values (1, 1)')
    expect(await read()).toEqual([bool, bool])
    for (const suffix of ['', '-wal', '-shm']) rmSync(pathOf(url) + suffix, { force: true })
    await prepare(url, 'create table f (ok integer, a integer, b integer)', 'insert into f values (1, 1, 1)')
    const plain = { ok: 1, a: 1, b: 1 }
    expect(await read()).toEqual([plain, plain])
  })

  it('are known for a query that ends in a semicolon and a comment', async () => {
    await database.execute('create table flags (ok boolean)')
    await database.execute('insert into flags values (1)')
    const raw = database.knex.raw('select ok from flags; -- drop table flags')
    expect(await database.fetchAll(raw)).toEqual([{ ok: true }])
    expect(await all(database.iterate(raw))).toEqual([{ ok: true }])
  })

  it('leave nothing behind for a wrong query that would block a change of the schema', async () => {
    const one = await context.open({ pool: { size: 1, maxOverflow: 0 } })
    await one.execute('create table changing (id integer, old integer)')
    for (const wrong of ['select * from nowhere', 'select no_column, 1 as a from changing']) {
      await expect(all(one.iterate(wrong))).rejects.toThrow(/no such/)
      await expect(one.fetchVal(wrong)).rejects.toThrow(/no such/)
      await one.execute('alter table changing rename to changed')
      await one.execute('alter table changed rename to changing')
    }
    expect(await one.fetchAll('select name from temp.sqlite_schema')).toEqual([])
  })

  it('are known for attached files', async () => {
    const url = await context.createDatabase()
    await prepare(url, 'create table far (ok boolean)')
    await database.connection(async (connection) => {
      await connection.execute(`attach '${pathOf(url)}' as aux`)
      await connection.execute(`create table far (ok integer)`)
      expect(await connection.fetchAll('insert into aux.far values (1) returning ok')).toEqual([{ ok: true }])
      expect(await connection.fetchAll('insert into main.far values (1) returning ok')).toEqual([{ ok: 1 }])
      expect(await connection.fetchAll('select ok from aux.far')).toEqual([{ ok: true }])
      await connection.execute('drop table main.far')
    })
  })

  it('of columns of the same name are those of the last one, and its value is exact', async () => {
    // In a file of its own, since columns of a declared type make a difference.
    const url = await context.createDatabase()
    await prepare(url, 'create table n (id integer)', 'insert into n values (1), (2), (3)')
    const own = await context.open({}, url)
    const read = 'select x.*, y.id from n x join n y on y.id = x.id + 1'
    expect(await own.fetchAll(read)).toEqual([{ id: 2 }, { id: 3 }])
    await context.admin('insert into n values (9223372036854775806), (9223372036854775807)', url)
    const rows = [{ id: 2 }, { id: 3 }, { id: '9223372036854775807' }]
    const told = expect.stringMatching(/beyond 2\^53/) as unknown
    for (const reading of [own.fetchAll(read), all(own.iterate(read))])
      expect(await valueOrMessage(reading)).toEqual(context.driver === 'sqlite3' ? told : rows)
  })

  it.each([
    "with x as (select 'update other set' as a) insert into flagged select 1 from x returning ok",
    `with "into other" as (select 1) insert into main.flagged select * from "into other" returning ok`,
    "insert into flagged values (1) returning ok, 'returning x' as note",
    "insert into 'flagged' values (1) returning ok",
    'insert into flagged select 1 from (select * from other) /* update other */ returning ok',
    'with x as (select 7 as n) insert into flagged values (1) returning ok, (select n from x) as n',
  ])('are known for RETURNING: %s', async (insert) => {
    await database.execute('create table if not exists flagged (ok boolean)')
    await database.execute('create table if not exists other (ok integer)')
    await database.execute('delete from other')
    await database.execute('insert into other values (1)')
    expect(await database.fetchAll(insert)).toEqual([expect.objectContaining({ ok: true })])
  })

  it('of a compound SELECT do not round values of its later parts', async () => {
    const url = await context.createDatabase()
    await prepare(
      url,
      'create table n (r real, t text, i integer)',
      "insert into n values (1e17, 'x', 9007199254740993)",
    )
    const own = await context.open({}, url)
    expect(await own.fetchAll('select r from n')).toEqual([{ r: 1e17 }])
    const told = expect.stringMatching(/beyond 2\^53/) as unknown
    for (const first of ['r', 't']) {
      const query = `select ${first} as x from n union all select i from n`
      const exact = [{ x: first === 'r' ? 1e17 : 'x' }, { x: '9007199254740993' }]
      for (const reading of [own.fetchAll(query), all(own.iterate(query))])
        expect(await valueOrMessage(reading)).toEqual(context.driver === 'sqlite3' ? told : exact)
    }
  })

  it('of a compound SELECT are those of its first part', async () => {
    await database.execute('create table papers (doc json)')
    await database.execute("insert into papers values ('[1]')")
    const query = "select doc from papers union all select '[2]' order by 1"
    expect(await database.fetchAll(query)).toEqual([{ doc: [1] }, { doc: [2] }])
    expect(await all(database.iterate(query))).toEqual([{ doc: [1] }, { doc: [2] }])
  })

  it('do not change the index of a column beside bound values', async () => {
    for (const [query, expected] of [
      ['select :a, :b', ['x', 'y']],
      ['select 5, :a, 7, :b, 3', [5, 'x', 7, 'y', 3]],
    ] as const)
      for (const [column, value] of expected.entries())
        expect(await database.fetchVal(query, { a: 'x', b: 'y' }, { column })).toBe(value)
  })

  it('are known beside a virtual table whose module is missing', async () => {
    const url = await context.createDatabase()
    await prepare(url, 'create table flags (ok boolean)', 'insert into flags values (1)')
    const own = await context.open({}, url)
    await own.connection(async (connection) => {
      await connection.execute('pragma writable_schema = on')
      await connection.execute(
        `insert into sqlite_schema values ('table', 'far', 'far', 0, 'create virtual table far using nowhere(x)')`,
      )
    })
    await own.disconnect()
    const again = await context.open({}, url)
    expect(await again.fetchAll('select ok from flags')).toEqual([{ ok: true }])
    expect(await again.execute('insert into flags values (0)')).toEqual({ rowCount: 1, lastInsertId: 2 })
  })

  /** Without the library, as another program would. */
  async function prepare(url: string, ...statements: readonly string[]): Promise<void> {
    writeFileSync(pathOf(url), '')
    for (const statement of statements) await context.admin(statement, url)
  }
})

eachDatabase('the types of columns after a change of the schema', (context) => {
  const isSqlite = context.dialect === 'sqlite'

  let database: Database

  beforeEach(async () => {
    database = await context.open()
  })

  it('are known beside a broken view', async () => {
    if (isSqlite) {
      await database.execute('create table gone (id integer)')
      await database.execute('create view broken as select * from gone')
      await database.execute('drop table gone')
    }
    expect(await database.fetchAll('select 1 as x')).toEqual([{ x: 1 }])
    if (isSqlite) await database.execute('drop view broken')
  })

  it('are known to others once the transaction that created the table has committed', async () => {
    await database.transaction(async () => {
      await database.execute('create table fresh (ok boolean)')
      await database.execute('insert into fresh values (:ok)', { ok: true })
      await database.detached(() => database.fetchAll('select 1 as x'))
    })
    expect(await database.fetchAll('select * from fresh')).toEqual([{ ok: true }])
    await database.execute('drop table fresh')
  })

  it('are those of columns with another name in RETURNING, and unknown for expressions', async () => {
    await database.execute('create table flagged (id integer primary key, flag boolean)')
    const returning = 'insert into flagged values (1, :flag) returning id as flag, flag as ok'
    expect(await database.fetchAll(returning, { flag: true })).toEqual([{ flag: 1, ok: true }])
    await database.execute('drop table flagged')
  })

  it('include a new column at once in a stream', async () => {
    await database.execute('create table widened (id integer primary key)')
    await database.execute('insert into widened values (1)')
    expect(await all(database.iterate('select * from widened'))).toEqual([{ id: 1 }])
    await context.admin('alter table widened add column more integer default 2')
    expect(await all(database.iterate('select * from widened'))).toEqual([{ id: 1, more: 2 }])
    const inside = database.transaction(() => all(database.iterate('select * from widened')))
    expect(await inside).toEqual([{ id: 1, more: 2 }])
    await database.execute('drop table widened')
  })
})
