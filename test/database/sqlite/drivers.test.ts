/** Both SQLite drivers give and store the same values, ids, names of columns and dates. */
import { chmodSync, symlinkSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import knexOf from 'knex'
import { ConfigurationError, ConnectionError, Database, DatabaseURL, knexConfig } from '../../../src/database'
import { all, failure } from '../support'
import { eachDatabase, sqliteScratches } from '../../support/each-database'

const OPEN_READWRITE = 2
const OPEN_CREATE = 4

eachDatabase('a query without values', (context) => {
  it('gives new rows each time, whichever method ran it before', async () => {
    const database = await context.open({ pool: { size: 1, maxOverflow: 0 } })
    await database.execute('create table jobs (id integer primary key, state varchar(10))')
    const next = "select id from jobs where state = 'ready' order by id limit 1"
    for (const query of [next, () => database.table('jobs').select('id').limit(1), 'values (7), (8)']) {
      const text = (): string => (typeof query === 'string' ? query : query().toQuery())
      await database.execute('delete from jobs')
      const isThere = text().startsWith('values')
      expect(await database.fetchVal(text())).toBe(isThere ? 7 : null)
      expect(await database.fetchVal(text())).toBe(isThere ? 7 : null)
      await database.execute("insert into jobs values (7, 'ready')")
      for (const read of [
        () => database.fetchVal(text()),
        async () => Object.values((await database.fetchOne(text())) ?? {})[0],
        async () => Object.values((await database.fetchAll(text()))[0] ?? {})[0],
        async () => Object.values((await all(database.iterate<object>(text())))[0] ?? {})[0],
        () => database.transaction((tx) => tx.fetchVal(text())),
        () => database.fetchVal(text()),
      ])
        expect(await read()).toBe(7)
    }
  })
})

const INTEGERS = [
  2 ** 31 - 1,
  2 ** 31,
  -(2 ** 31),
  -(2 ** 31) - 1,
  5_000_000_000,
  1_772_366_400_000,
  2 ** 53 - 1,
]

eachDatabase('an integer beyond 32 bits', (context) => {
  const isSqlite = context.dialect === 'sqlite'

  it.each(INTEGERS.flatMap((n) => [n, BigInt(n)]))('is stored and compared as an integer: %p', async (n) => {
    const database = await context.open({ pool: { size: 1, maxOverflow: 0 } })
    await database.execute('create table kept (k varchar(30), n bigint)')
    const text = String(n)
    await database.execute('insert into kept values (:k, :n)', { k: isSqlite ? n : text, n })
    await database.execute(database.table('kept').insert({ k: isSqlite ? n : text, n }))
    await database.knex('kept').insert({ k: isSqlite ? n : text, n })
    await database.executeMany('insert into kept values (:k, :n)', [
      { k: isSqlite ? n : text, n },
      { k: 'small', n: 1 },
    ])
    const found = 'select k from kept where n = :n and k = :k and n in (:ns)'
    const rows = await database.fetchAll(found, { n, k: isSqlite ? n : text, ns: [n, 1] })
    expect(rows).toEqual(Array.from({ length: 4 }, () => ({ k: text })))
    expect(
      await database.fetchVal('select count(*) from kept where n = cast(:k as bigint)', { k: text }),
    ).toEqual(isSqlite ? 4 : '4')
    await database.execute('drop table kept')
  })

  it('keeps the names of columns as written', async () => {
    if (!isSqlite) return
    const database = await context.open()
    for (const read of [
      database.fetchAll.bind(database),
      (q: string, v: object) => all(database.iterate(q, { ...v })),
    ]) {
      expect(await read('select :n, :n + 1', { n: 5 })).toEqual([{ '?1': 5, '?1 + 1': 6 }])
      expect(await read('select :n, :n + 1', { n: 5e9 })).toEqual([{ '?1': 5e9, '?1 + 1': 5e9 + 1 }])
    }
    expect(await database.fetchVal("select typeof(:n) || ' ' || (:n / 3)", { n: 5e9 })).toBe(
      'integer 1666666666',
    )
    expect(await database.fetchVal("select json_object('at', :n)", { n: 2 ** 52 - 1 })).toBe(
      '{"at":4503599627370495}',
    )
  })
})

eachDatabase('SQLite', (context) => {
  if (context.dialect !== 'sqlite') {
    it('is not run where only PostgreSQL is tested', () => {
      expect(context.driver).toBe('pg')
    })
    return
  }

  it('returns exact ids, or none', async () => {
    const database = await context.open()
    await database.execute('create table msgs (id integer primary key, t text)')
    const large = 1_533_947_986_218_845_197n
    expect(await database.execute('insert into msgs values (:large, 1)', { large })).toEqual({
      rowCount: 1,
      lastInsertId: null,
    })
    expect(await database.fetchVal('select cast(id as text) from msgs')).toBe(String(large))
    await database.execute('create table odd (rowid integer, t text)')
    expect(await database.execute("insert into odd values (42, 'a')")).toEqual({
      rowCount: 1,
      lastInsertId: 1,
    })
    await database.execute('create view seen as select * from odd')
    await database.execute(
      'create trigger see instead of insert on seen begin insert into msgs values (9, 1); end',
    )
    expect((await database.execute('insert into seen values (1, 2)')).lastInsertId).toBeNull()
    expect(await database.execute('insert or ignore into msgs values (9, 1)')).toEqual({
      rowCount: 0,
      lastInsertId: null,
    })
    expect((await database.execute('replace into msgs values (9, 2)')).lastInsertId).toBe(9)
    await database.execute('create table "Ärger" (k text primary key) without rowid')
    expect(await database.execute('insert into Ärger values (1)')).toEqual({
      rowCount: 1,
      lastInsertId: null,
    })
    expect(
      (await database.execute('with x as (select 3 as n) insert into msgs select n, n from x')).lastInsertId,
    ).toBe(3)
  })

  it('gives columns the same names by every method, for any data', async () => {
    const database = await context.open({}, context.memoryUrl)
    await database.execute('create table users (id integer primary key, active boolean, big integer)')
    await database.execute('create table posts (id integer primary key, author_id integer, doc json)')
    await database.execute('insert into users values (7, 1, 5)')
    await database.execute(`insert into posts values (3, 7, '{"a":1}')`)
    await database.execute('create view feed as select p.id, u.id, u.active, u.active from posts p, users u')
    for (const [sql, values, row] of [
      ['select id, :lang, :page from users', { lang: 'de', page: 2 }, { id: 7, '?1': 'de', '?2': 2 }],
      [
        'select 1 +CAST(:n AS INTEGER), :m',
        { n: 1, m: 2 ** 40 },
        { '1 +CAST(?1 AS INTEGER)': 2, '?2': 2 ** 40 },
      ],
      ['select * from feed', {}, { id: 3, 'id:1': 7, active: true, 'active:1': true }],
      [
        'select "id:1" as author, * from feed',
        {},
        { author: 7, id: 3, 'id:1': 7, active: true, 'active:1': true },
      ],
      ['select p.id as id, u.id as ID from posts p, users u', {}, { id: 3, ID: 7 }],
      ['select u.active as x, p.doc as X from posts p, users u', {}, { x: true, X: { a: 1 } }],
      ['select true, false', {}, { true: 1, false: 0 }],
      ['select 1 as a, 2 as "a:1"', {}, { a: 1, 'a:1': 2 }],
      ['select active as x, doc as "x:1" from users, posts', {}, { x: true, 'x:1': { a: 1 } }],
    ] as [string, object, object][]) {
      expect(await database.fetchAll(sql, { ...values })).toEqual([row])
      expect(await all(database.iterate(sql, { ...values }))).toEqual([row])
      expect(await database.transaction((tx) => all(tx.iterate(sql, { ...values })))).toEqual([row])
      expect(Object.keys((await database.fetchOne(sql, { ...values })) ?? {})).toEqual(Object.keys(row))
    }
  })

  it('stores dates in one format, by every way to write them', async () => {
    const database = await context.open()
    const at = new Date('2026-03-01T12:30:00.123Z')
    const commandLine = knexOf(knexConfig(context.url))
    await commandLine.schema.createTable('events', (table) => {
      table.string('who')
      table.datetime('at')
      table.boolean('ok')
      table.json('doc')
      table.bigInteger('n')
    })
    const row = { at, ok: true, doc: { a: 1 }, n: 5_000_000_000n }
    await commandLine('events').insert([{ who: 'command line', ...row }, { who: 'too' }])
    expect(await commandLine('events').first('ok', 'doc')).toEqual({ ok: true, doc: { a: 1 } })
    await commandLine.destroy()
    await database.knex('events').insert({ who: 'knex', ...row })
    await database.execute(database.table('events').insert({ who: 'builder', ...row }))
    await database.execute('insert into events values (:who, :at, :ok, :doc, :n)', {
      who: 'text',
      ...row,
      doc: JSON.stringify(row.doc),
    })
    const seen = { at: '2026-03-01 12:30:00.123', ok: true, doc: { a: 1 }, n: 5_000_000_000 }
    expect(await database.fetchAll('select at, ok, doc, n from events where at is not null')).toEqual([
      seen,
      seen,
      seen,
      seen,
    ])
    expect(await database.knex('events').where('at', '>', new Date(0)).pluck('who')).toHaveLength(4)
    // Plain Knex stores milliseconds.
    await context.admin(`insert into events (who, at) values ('plain', ${at.getTime()})`)
    expect(await database.fetchVal("select at from events where who = 'plain'")).toBe(seen.at)
    for (const [moment, isStored] of [
      [new Date('9999-12-31T23:59:59.999Z'), true],
      [new Date('0000-01-01T00:00:00Z'), true],
      [new Date('+010000-01-01T00:00:00Z'), false],
      [new Date('-000001-12-31T00:00:00Z'), false],
    ] as const) {
      const insert = database.execute('insert into events (at) values (:moment)', { moment }).then(
        () => true,
        (error: unknown) => /outside of the years 0 to 9999/.test((error as Error).message) && false,
      )
      expect(await insert).toBe(isStored)
    }
  })

  it('refuses a file that another driver has open in the process, by any path', async () => {
    await context.open()
    const { database: file } = new DatabaseURL(context.url)
    const link = `${file}-link`
    symlinkSync(file, link)
    const relative = path.relative('.', file)
    const other = context.driver === 'sqlite3' ? 'sqlite+appthreat' : 'sqlite'
    for (const name of [file, link, relative]) {
      // On Node 20 the second driver cannot be loaded, which is the reason then.
      const error = await failure((async () => new Database(`${other}:///${name}`).connect())())
      expect(error).toBeInstanceOf(ConfigurationError)
      expect(error.message).toMatch(/Use one driver for one file|cannot be loaded/)
    }
  })

  it('opens a file read-only, and reports a missing or invalid file at once', async () => {
    const database = await context.open()
    await database.execute('create table archived (id integer)')
    await database.execute('insert into archived values (1)')
    await database.disconnect()
    const { database: file } = new DatabaseURL(context.url)
    chmodSync(file, 0o444)
    for (const parameters of ['?mode=ro', '?immutable=1', '?mode=ro&immutable=1']) {
      const archive = await context.open({}, context.url + parameters)
      expect(await archive.fetchVal('select id from archived')).toBe(1)
      expect(await all(archive.iterate('select id from archived'))).toEqual([{ id: 1 }])
      expect((await failure(archive.execute('insert into archived values (2)'))).message).toMatch(/readonly/)
      await archive.disconnect()
    }
    chmodSync(file, 0o644)
    const missing = new Database(`${context.url}-missing?mode=rw`)
    const error = await failure(missing.connect())
    expect(error).toBeInstanceOf(ConnectionError)
    expect(error).toMatchObject({ retryable: false })
    writeFileSync(`${file}-other`, 'no database, or an encrypted one '.repeat(100))
    expect(await failure(new Database(`${context.url}-other`).connect())).toMatchObject({ retryable: false })
    expect(() => new Database(`${context.url}?mode=read`)).toThrow(
      /'mode' of a SQLite URL is ro, rw, rwc, got 'read'/,
    )
  })

  describe('a statement', () => {
    let database: Database

    beforeEach(async () => {
      database = await context.open()
      await database.execute('create table t (id integer primary key, name text)')
    })
    afterEach(async () => {
      await context.admin('drop table t')
    })

    it('that is a PRAGMA of many steps runs to its end', async () => {
      await database.connection(async (connection) => {
        await connection.execute('pragma auto_vacuum = 2')
        await connection.execute('vacuum')
        await connection.execute(
          "insert into t select value, hex(zeroblob(4000)) from json_each('[1,2,3,4,5,6,7,8,9]')",
        )
        await connection.execute('delete from t')
        expect(await connection.fetchVal('pragma freelist_count')).toBeGreaterThan(5)
        await connection.execute('pragma incremental_vacuum')
        expect(await connection.fetchVal('pragma freelist_count')).toBe(0)
      })
    })

    it('ends before a comment that is never closed', async () => {
      const insert = "insert into t (name) values ('x') /* RETURNING"
      expect(await database.execute(insert)).toEqual({ rowCount: 1, lastInsertId: 1 })
      expect(await database.fetchOne('select id from t /* limit')).toEqual({ id: 1 })
      expect(await database.fetchAll('select 7 as n /* big')).toEqual([{ n: 7 }])
    })

    it("that reads a column named like a keyword keeps no lock, and has the column's type", async () => {
      const one = await context.open({ pool: { size: 1, maxOverflow: 0 } })
      await one.execute('create table keywords (merge integer)')
      await one.execute('insert into keywords values (1), (2)')
      expect(await one.execute('select merge from keywords')).toEqual({ rowCount: 0, lastInsertId: null })
      await database.execute('insert into keywords values (3)')
      expect(await one.fetchVal('select count(*) from keywords')).toBe(3)
      await one.execute('drop table keywords')
      await one.execute('create table keywords (merge boolean)')
      await one.execute('insert into keywords values (1)')
      const query = 'select merge from keywords'
      const row = { merge: true }
      expect(await one.fetchAll(query)).toEqual([row])
      expect(await one.fetchOne(query)).toEqual(row)
      expect(await all(one.iterate(query))).toEqual([row])
    })
  })
})

describe.each(sqliteScratches())(
  'a file that another program reads in another journal mode: $title',
  (scratch) => {
    afterAll(() => scratch.dropAll())

    it('is read and written in its own mode', async () => {
      const url = await scratch.create()
      const driver = await scratch.open(url, OPEN_READWRITE | OPEN_CREATE)
      const run = (sql: string): Promise<unknown> =>
        new Promise((resolve, reject) => {
          driver.all(sql, (error, rows) => (error ? reject(error) : resolve(rows)))
        })
      await run('create table shared (id integer)')
      await run('insert into shared values (1)')
      await run('begin')
      await run('select * from shared')
      await using database = new Database(url)
      await database.connect()
      expect(await database.fetchVal('select id from shared')).toBe(1)
      expect(await database.fetchVal('pragma journal_mode')).toBe('delete')
      expect(await database.fetchVal('pragma synchronous')).toBe(2)
      await run('commit')
      expect(await database.execute('insert into shared values (2)')).toMatchObject({ rowCount: 1 })
      await new Promise((resolve) => driver.close(resolve))
    })
  },
)
