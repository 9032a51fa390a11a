/** The reset of a released connection: settings, locks, temporary tables and listeners do not reach the next caller. */
import type { Client } from 'pg'
import type { Database } from '../../../src/database'
import { all, failure } from '../support'
import { eachDatabase } from '../../support/each-database'
import { startPooler } from '../../support/pooler'

eachDatabase('a released connection', (context) => {
  let database: Database
  let prepared = 0
  const single = { size: 1, maxOverflow: 0 }
  const setting = context.dialect === 'sqlite' ? 'PRAGMA recursive_triggers' : 'show search_path'
  const change =
    context.dialect === 'sqlite' ? 'PRAGMA recursive_triggers = ON' : 'set search_path to elsewhere'

  beforeEach(async () => {
    prepared = 0
    database = await context.open({
      pool: single,
      afterConnect: async (connection) => {
        prepared += 1
        const sql = context.dialect === 'sqlite' ? 'PRAGMA cache_size = -777' : "set work_mem to '777kB'"
        await connection.execute(sql)
      },
    })
    await database.execute('create table t (id integer)')
  })
  afterEach(async () => {
    await context.admin('drop table t')
  })

  it('loses the settings of its caller, and keeps those of afterConnect', async () => {
    const before = await database.fetchVal(setting)
    const own = context.dialect === 'sqlite' ? 'PRAGMA cache_size' : 'show work_mem'
    const ours = await database.fetchVal(own)
    await database.connection(async (connection) => {
      await connection.execute(change)
      expect(await connection.fetchVal(setting)).not.toEqual(before)
    })
    expect(await database.fetchVal(setting)).toEqual(before)
    expect(await database.fetchVal(own)).toEqual(ours)
    expect(prepared).toBe(2)
  })

  it('loses its temporary tables', async () => {
    await database.connection((connection) => connection.execute('create temporary table mine (id integer)'))
    expect((await failure(database.fetchAll('select * from mine'))).message).toMatch(/mine/)
  })

  it('loses settings that a transaction made with SET LOCAL, without a reset', async () => {
    if (context.dialect === 'sqlite') return // It has no such thing.
    await database.transaction((tx) => tx.execute('set local search_path to elsewhere'))
    expect(await database.fetchVal(setting)).not.toMatch(/elsewhere/)
    expect(prepared).toBe(1)
  })

  it('is replaced when its caller has read connection.raw', async () => {
    await database.connection(async ({ raw }) => {
      expect(raw).toBeDefined()
    })
    expect(await database.fetchVal('select 1')).toBe(1)
    expect(prepared).toBe(2)
  })

  it('is not reset after statements that leave nothing behind', async () => {
    await database.connection(async (connection) => {
      await connection.execute('insert into t values (1)')
      await connection.transaction((tx) => tx.fetchAll('select * from t'))
      await connection.transaction((tx) => tx.fetchAll('select * from t'), { readOnly: true })
    })
    expect(prepared).toBe(1)
    expect(database.stats()).toMatchObject({ created: 1, retired: 0 })
  })

  if (context.dialect === 'sqlite') return

  it('loses locks, prepared statements and LISTEN', async () => {
    await database.connection(async (connection) => {
      await connection.fetchVal('select pg_advisory_lock(7)')
      await connection.execute('listen news')
      await connection.execute('prepare mine as select 1')
    })
    expect(await database.fetchAll('select pg_listening_channels()')).toEqual([])
    const theirs = "select name from pg_prepared_statements where name not like 'millpond%'"
    expect(await database.fetchAll(theirs)).toEqual([])
    expect(await context.admin('select pg_try_advisory_lock(7) as free')).toEqual([{ free: true }])
  })

  it.each([
    ['set work_mem = 1000'],
    ['listen news'],
    ['create temporary table mine (id integer)'],
    ['select pg_advisory_lock(8)'],
    ['set search_path to elsewhere'],
    ['discard all'],
  ])('keeps the settings from its connect after %s', async (sql) => {
    await using pooler = await startPooler(context.url)
    for (const url of [context.url, pooler.url]) {
      const opened = await context.open(
        {
          pool: single,
          knex: { searchPath: ['Its own', 'public'], connection: { application_name: "it's" } },
        },
        url,
      )
      const kept = { path: '"Its own", public', name: "it's" }
      const ask = (): Promise<unknown> =>
        opened.fetchOne(
          "select current_setting('search_path') as path, current_setting('application_name') as name",
        )
      expect(await ask()).toEqual(kept)
      await opened.execute(sql)
      expect(await ask()).toEqual(kept)
      expect(opened.stats()).toMatchObject({ created: 1 })
    }
  })

  it('keeps the settings of its URL', async () => {
    const opened = await context.open({ pool: single }, `${context.url}?options=-c%20search_path%3Delsewhere`)
    for (const sql of ['select 1', 'set search_path to public']) {
      await opened.execute(sql)
      await expect(opened.fetchVal('show search_path')).resolves.toBe('elsewhere')
    }
  })
})

eachDatabase('a released connection', (context) => {
  const single = { size: 1, maxOverflow: 0 }

  beforeEach(async () => {
    const database = await context.open()
    await database.execute('create table t (id integer)')
  })
  afterEach(async () => {
    await context.admin('drop table t')
  })

  if (context.dialect === 'sqlite') {
    it('loses pragmas, written with parentheses or run as a stream', async () => {
      const database = await context.open({ pool: single })
      for (const pragma of [
        'PRAGMA foreign_keys(0)',
        'PRAGMA foreign_keys(off)',
        'PRAGMA foreign_keys = 0',
      ]) {
        await database.execute(pragma)
        expect(await database.fetchVal('PRAGMA foreign_keys')).toBe(1)
        await all(database.iterate(pragma))
        expect(await database.fetchVal('PRAGMA foreign_keys')).toBe(1)
      }
    })

    it('loses tables, views and triggers in the schema temp', async () => {
      const database = await context.open({ pool: single })
      for (const sql of [
        'create table temp.mine (id integer)',
        'create view if not exists "temp".mine as select 1',
        'create table [temp] . mine as select 1',
        'create trigger temp.mine after insert on t begin select 1; end',
      ]) {
        await database.execute(sql)
        expect(await database.fetchAll('select name from sqlite_temp_schema')).toEqual([])
      }
    })

    return
  }

  it('loses listeners and type parsers that were set by connection.raw', async () => {
    const database = await context.open({ pool: single })
    const heard: unknown[] = []
    await database.connection(({ raw }) => {
      const client = raw as Client
      client.on('notification', (message) => heard.push(message))
      client.setTypeParser(23, () => 'of somebody else')
      return Promise.resolve()
    })
    expect(await database.fetchVal('select 1')).toBe(1)
    await database.connection(async (connection) => {
      await connection.execute('listen news')
      await connection.execute('notify news')
      await connection.fetchVal('select 1')
    })
    expect(heard).toEqual([])
  })

  it('loses settings and locks that a stream has made', async () => {
    const database = await context.open({ pool: single })
    const before = await database.fetchVal('show work_mem')
    for (const sql of ["select set_config('work_mem', '1GB', false)", "set work_mem to '1GB'"]) {
      await all(database.iterate(sql))
      expect(await database.fetchVal('show work_mem')).toBe(before)
    }
    await all(database.iterate('select pg_advisory_lock(4711)'))
    expect(await context.admin('select pg_try_advisory_lock(4711) as free')).toEqual([{ free: true }])
  })

  it('loses temporary objects and settings, however they are written', async () => {
    const database = await context.open({ pool: single })
    const before = await database.fetchVal('show work_mem')
    for (const sql of [
      'create table pg_temp.mine (id integer)',
      'create table "pg_temp".mine (id integer)',
      'create or replace temp view mine as select 1 as id',
      "create function pg_temp.mine() returns integer language sql as 'select 1'",
      'select 1 as id into local temp mine',
      'select 1 as id into pg_temp.mine',
      `select "set_config"('work_mem', '1GB', false)`,
      "with x as (select set_config('work_mem', '1GB', false)) select * from x",
    ]) {
      await database.execute(sql)
      const left = await database.fetchAll(
        'select relname as name from pg_class where relnamespace = pg_my_temp_schema() ' +
          'union all select proname from pg_proc where pronamespace = pg_my_temp_schema()',
      )
      expect([sql, left, await database.fetchVal('show work_mem')]).toEqual([sql, [], before])
    }
  })
})
