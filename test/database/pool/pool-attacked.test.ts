/** What a connection must not carry over: from one that was taken back, from a stream, from `raw`, from a hidden write. */
import { setTimeout as delay } from 'node:timers/promises'
import type { Client } from 'pg'
import { ConnectionError, type Database, TransactionClosedError } from '../../../src/database'
import { eachDatabase } from '../../support/each-database'
import { startProxy } from '../../support/tcp-proxy'
import { waitFor } from '../../support/wait-for'
import { all, endless, failure, idsOf } from '../support'

eachDatabase('a connection that changes hands', (context) => {
  const single = { size: 1, maxOverflow: 0 }

  /** Resolves when the one connection that was out has been taken back. */
  const takenBack = (database: Database): Promise<unknown> => {
    return waitFor(() => database.stats().used === 0, { what: 'the connection to be taken back' })
  }

  beforeEach(async () => {
    const database = await context.open()
    await database.execute('create table t (id integer)')
  })
  afterEach(async () => {
    await context.admin('drop table t')
  })

  it('refuses a Knex transaction that was taken back, and does not let it end that of the next user', async () => {
    const database = await context.open({ pool: { ...single, leakTimeoutMillis: 500 } })
    const old = await database.knex.transaction()
    await old('t').insert({ id: 1 })
    await takenBack(database)
    await database.transaction(async (tx) => {
      await tx.execute('insert into t values (2)')
      expect(await failure(Promise.resolve(old('t').insert({ id: 3 })))).toBeInstanceOf(
        TransactionClosedError,
      )
      await Promise.resolve(old.rollback()).catch(() => undefined)
      expect(await tx.fetchVal('select 1')).toBe(1)
    })
    expect(await idsOf(database)).toEqual([2])
  })

  it('cancels the stream of one that is taken back, and keeps the connection', async () => {
    const database = await context.open({ pool: { ...single, leakTimeoutMillis: 300 } })
    const stuck = failure(all(database.iterate(endless(context.dialect))))
    await waitFor(() => database.stats().used === 1, { what: 'the stream to begin' })
    expect(await database.fetchVal('select 1')).toBe(1)
    expect(await stuck).toMatchObject({ code: expect.stringMatching(/QUERY_CANCELED|TRANSACTION_CLOSED/) })
    expect(database.stats().retired).toBe(0)
  })

  it('does not count against its holder that the process was busy again and again', async () => {
    const pool = { ...single, leakThresholdMillis: 1200, leakTimeoutMillis: 1200 }
    const database = await context.open({ pool })
    const leaks: string[] = []
    database.on('leak', ({ state }) => leaks.push(state))
    await database.connection(async (connection) => {
      for (let round = 0; round < 3; round += 1) {
        const until = performance.now() + 520
        while (performance.now() < until);
        // Its timers get their turn.
        await delay(1)
      }
      expect(await connection.fetchVal('select 1')).toBe(1)
    })
    expect(leaks).toEqual([])
  })

  if (context.dialect === 'sqlite') {
    it('does not hand on pragmas, written with parentheses or run as a stream', async () => {
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

    it('does not hand on what was made in the schema `temp`', async () => {
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

  it('does not let the driver connection of one that was taken back into the transaction of the next', async () => {
    const database = await context.open({ pool: { ...single, leakTimeoutMillis: 500 } })
    const connection = await database.acquire()
    const raw = connection.raw as Client
    await takenBack(database)
    await database.transaction(async (tx) => {
      expect(await failure(raw.query('insert into t values (1)'))).toBeInstanceOf(Error)
      expect(await tx.fetchAll('select id from t')).toEqual([])
    })
    await connection.release()
  })

  it('does not hand on listeners and type parsers that were set on the connection of the driver', async () => {
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

  it('does not gather the listeners of an afterConnect that uses the connection of the driver', async () => {
    const database = await context.open({
      pool: single,
      afterConnect: ({ raw }) => {
        ;(raw as Client).on('notice', () => undefined)
        return Promise.resolve()
      },
    })
    const listeners: number[] = []
    for (let round = 0; round < 4; round += 1) {
      await database.connection((connection) => connection.execute("set work_mem to '5MB'"))
      await database.connection(({ raw }) => {
        listeners.push((raw as Client).listenerCount('notice'))
        return Promise.resolve()
      })
    }
    expect(new Set(listeners).size).toBe(1)
  })

  it('does not hand on what a stream has set or locked', async () => {
    const database = await context.open({ pool: single })
    const before = await database.fetchVal('show work_mem')
    for (const sql of ["select set_config('work_mem', '1GB', false)", "set work_mem to '1GB'"]) {
      await all(database.iterate(sql))
      expect(await database.fetchVal('show work_mem')).toBe(before)
    }
    await all(database.iterate('select pg_advisory_lock(4711)'))
    expect(await context.admin('select pg_try_advisory_lock(4711) as free')).toEqual([{ free: true }])
  })

  it('does not hand on temporary things and settings, however they are written', async () => {
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

  describe('and is lost between a call and its answer', () => {
    beforeEach(async () => {
      const insert = "language sql as 'insert into t values ($1) returning 1'"
      for (const sql of [
        'create schema app',
        `create function app.count(i integer) returns integer ${insert}`,
        `create function note(i integer) returns integer ${insert}`,
        'create procedure note_it() language sql as $$ insert into t values (1) $$',
      ])
        await context.admin(sql)
    })
    afterEach(async () => {
      for (const sql of ['drop schema app cascade', 'drop function note', 'drop procedure note_it'])
        await context.admin(sql)
    })

    it.each([
      ['is that of another schema', 'select app.count(1)'],
      ['stands before a comment', 'select note /* it */ (1)'],
      ['stands before a comment to the end of the line', 'select note -- it\n (1)'],
      ['stands far from its parenthesis', `select note${' '.repeat(60)}(1)`],
      ['stands in a second statement', 'select 1; call note_it()'],
    ])('has a function run once that %s', async (_, sql) => {
      const proxy = await startProxy(context.url)
      try {
        const database = await context.open({ pool: single }, proxy.url)
        let sent = 0
        database.on('query', () => {
          sent += 1
        })
        const cut = proxy.trap(Buffer.from(sql.slice(0, 18)), { answered: 0 })
        expect(await failure(Promise.resolve(database.knex.raw(sql)))).toBeInstanceOf(ConnectionError)
        await cut
        expect(sent).toBe(1)
        expect(await context.admin('select id from t')).toEqual([{ id: 1 }])
      } finally {
        await proxy.close()
      }
    })
  })
})
