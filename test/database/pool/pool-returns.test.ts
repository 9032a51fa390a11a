/** What comes back to the pool, and goes out again: without what its last user has set, and alive. */
import { ConnectionError, type Database, QueryTimeoutError, type Transaction } from '../../../src/database'
import { eachDatabase } from '../../support/each-database'
import { startPooler } from '../../support/pooler'
import { startProxy, type TcpProxy } from '../../support/tcp-proxy'
import { failure } from '../support'

eachDatabase('a connection that was used', (context) => {
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

  it('does not hand on what was set on it, and keeps what afterConnect has set', async () => {
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

  it('does not hand on temporary tables', async () => {
    await database.connection((connection) => connection.execute('create temporary table mine (id integer)'))
    expect((await failure(database.fetchAll('select * from mine'))).message).toMatch(/mine/)
  })

  it('lets afterConnect give its connection to a builder when it runs again', async () => {
    const answers: unknown[] = []
    let runs = 0
    const other: Database = await context.open({
      pool: single,
      afterConnect: async (connection) => {
        runs += 1
        // If it read `raw` in its first run, the connection would be closed instead.
        if (runs === 1) return
        const one = other.knex.select(other.knex.raw('1 as n'))
        answers.push(await one.connection(connection.raw))
      },
    })
    await other.connection((connection) => connection.execute(change))
    await other.fetchVal('select 1')
    expect(answers).toEqual([[{ n: 1 }]])
    expect(runs).toBe(2)
  })

  it('does not hand on what a transaction has set for itself, at no cost', async () => {
    if (context.dialect === 'sqlite') return // It has no such thing.
    await database.transaction((tx) => tx.execute('set local search_path to elsewhere'))
    expect(await database.fetchVal(setting)).not.toMatch(/elsewhere/)
    expect(prepared).toBe(1)
  })

  it('is renewed when somebody had the connection of the driver', async () => {
    await database.connection(async ({ raw }) => {
      expect(raw).toBeDefined()
    })
    expect(await database.fetchVal('select 1')).toBe(1)
    expect(prepared).toBe(2)
  })

  it('is not renewed for statements that leave nothing behind', async () => {
    await database.connection(async (connection) => {
      await connection.execute('insert into t values (1)')
      await connection.transaction((tx) => tx.fetchAll('select * from t'))
      await connection.transaction((tx) => tx.fetchAll('select * from t'), { readOnly: true })
    })
    expect(prepared).toBe(1)
    expect(database.stats()).toMatchObject({ created: 1, retired: 0 })
  })

  if (context.dialect === 'sqlite') return

  it('does not hand on locks, prepared statements and notifications', async () => {
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
  ])('keeps what was set while it was opened, after %s', async (sql) => {
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

  it('keeps what the options of its URL set', async () => {
    const opened = await context.open({ pool: single }, `${context.url}?options=-c%20search_path%3Delsewhere`)
    for (const sql of ['select 1', 'set search_path to public']) {
      await opened.execute(sql)
      await expect(opened.fetchVal('show search_path')).resolves.toBe('elsewhere')
    }
  })

  describe('and dies as a statement arrives', () => {
    let proxy: TcpProxy
    let away: Database
    let sent: string[]

    beforeEach(async () => {
      proxy = await startProxy(context.url)
      away = await context.open({ pool: single }, proxy.url)
      sent = []
      away.on('query', ({ sql }) => sent.push(sql))
    })
    afterEach(() => proxy.close())

    /** Cuts the connection as soon as such a statement has passed, once. */
    const cutAt = (text: string): Promise<void> => proxy.trap(Buffer.from(text))

    it('has a read run again on another', async () => {
      const reads: [string, () => Promise<unknown>][] = [
        ['select id', () => away.fetchAll('select id from t')],
        ['select count(*)', () => away.fetchOne('select count(*) from t')],
        ['select "id"', () => Promise.resolve(away.table('t').select('id'))],
      ]
      for (const [text, read] of reads) {
        sent.length = 0
        const cut = cutAt(text)
        expect(await read()).toBeDefined()
        await cut
        expect(sent).toHaveLength(2)
      }
    })

    it('has a read run again once, and no more', async () => {
      const cuts = [cutAt('select id'), cutAt('select id')]
      expect(await failure(away.fetchAll('select id from t'))).toBeInstanceOf(ConnectionError)
      await Promise.all(cuts)
      expect(sent).toHaveLength(2)
    })

    it('has a write run once', async () => {
      const cut = cutAt('insert')
      expect(await failure(away.execute('insert into t values (1)'))).toBeInstanceOf(ConnectionError)
      await cut
      expect(sent).toHaveLength(1)
    })

    it('has a read run once that calls what may write', async () => {
      await database.execute(
        'create function note() returns integer language sql as $$ insert into t values (1) returning id $$',
      )
      for (const [text, read] of [
        ['select note()', () => away.fetchVal('select note()')],
        ['select note()', () => Promise.resolve(away.knex.raw('select note()'))],
        ['select nextval', () => away.fetchVal("select nextval('nowhere')")],
      ] as const) {
        sent.length = 0
        const cut = cutAt(text)
        expect(await failure(read())).toBeInstanceOf(ConnectionError)
        await cut
        expect(sent).toHaveLength(1)
      }
      await database.execute('drop function note')
    })

    it('has a transaction begin on another, and its work run once', async () => {
      let runs = 0
      const work = (tx: Transaction): Promise<unknown> => {
        runs += 1
        return tx.fetchVal(`select ${runs}`)
      }
      const begins = [
        () => away.transaction(work),
        () => away.transaction(work, { isolation: 'serializable' }),
        async () => {
          await using tx = await away.begin()
          return await work(tx)
        },
      ]
      for (const [index, begin] of begins.entries()) {
        const cut = cutAt(index === 1 ? 'BEGIN ISOLATION' : `select ${index + 1}`)
        expect(await begin()).toBe(index + 1)
        await cut
        expect(runs).toBe(index + 1)
      }
    })

    it('has what a transaction begins with run again on another, which is no harm', async () => {
      const cut = cutAt('insert')
      await away.transaction(async (tx) => {
        await tx.execute('insert into t values (1)')
        await tx.execute('insert into t values (2)')
      })
      await cut
      expect(await away.fetchAll('select id from t order by id')).toEqual([{ id: 1 }, { id: 2 }])
      expect(away.stats()).toMatchObject({ used: 0, retired: 1 })
    })

    it('has what a transaction begins with run again once, and no more', async () => {
      const cuts = [cutAt('select 1'), cutAt('select 1')]
      let later: unknown
      const work = away.transaction(async (tx) => {
        const error = await failure(tx.fetchVal('select 1'))
        later = await failure(tx.fetchVal('select 2'))
        throw error
      })
      expect(await failure(work)).toBeInstanceOf(ConnectionError)
      await Promise.all(cuts)
      expect(later).toBeInstanceOf(ConnectionError)
      expect(await away.fetchVal('select 3')).toBe(3)
    })

    it('has nothing run again of a transaction that had begun', async () => {
      let runs = 0
      const cut = cutAt('select 2')
      const work = away.transaction(async (tx) => {
        runs += 1
        await tx.fetchVal('select 1')
        return tx.fetchVal('select 2')
      })
      expect(await failure(work)).toBeInstanceOf(ConnectionError)
      await cut
      expect(runs).toBe(1)
    })

    it('has nothing run on another for one who has used it before', async () => {
      const cut = cutAt('select 2')
      const work = away.connection(async (connection) => {
        await connection.execute('create temporary table own (id integer)')
        await connection.transaction((tx) => tx.fetchVal('select 2'))
      })
      expect(await failure(work)).toBeInstanceOf(ConnectionError)
      await cut
    })

    it('makes nobody wait longer for another than for the first', async () => {
      const cut = cutAt('select 1')
      const rest: unknown[] = []
      const started = performance.now()
      const work = away.transaction(
        async (tx) => {
          const first = failure(tx.fetchVal('select 1'))
          await cut
          // Whoever comes first has the only other place.
          proxy.blackhole()
          rest.push(await first)
          await tx.fetchVal('select 2')
        },
        { timeoutMillis: 300 },
      )
      rest.push(await failure(work))
      expect(performance.now() - started).toBeLessThan(5000)
      expect(rest[0]).toBeInstanceOf(QueryTimeoutError)
      proxy.restore()
      expect(await away.fetchVal('select 3')).toBe(3)
      expect(away.stats()).toMatchObject({ used: 0 })
    })
  })
})
