/** Lost connections: silent ones are found and replaced, and a statement is retried only where that is harmless. */
import {
  ConnectionError,
  type Database,
  type PoolOptions,
  QueryTimeoutError,
  type Transaction,
} from '../../../src/database'
import { failure } from '../support'
import { eachDatabase } from '../../support/each-database'
import { startProxy, type TcpProxy } from '../../support/tcp-proxy'
import { waitFor } from '../../support/wait-for'

/** How long a connection may take to answer in validation, with a margin for a busy machine. */
const ABOUT_TWO_SECONDS = 3500

eachDatabase('a pool whose connections are lost', (context) => {
  if (context.dialect === 'sqlite') {
    it('does not occur with SQLite, where a file answers', async () => {
      const database = await context.open({ pool: { validateAfterIdleMillis: 0 } })
      expect(await database.fetchVal('select 1')).toBe(1)
    })
    return
  }

  let proxy: TcpProxy
  beforeEach(async () => {
    proxy = await startProxy(context.url)
  })
  afterEach(() => proxy.close())

  /** Opens as many connections as the pool keeps, and then holds all their traffic. */
  async function silence(pool: PoolOptions & { size: number }): Promise<Database> {
    const database = await context.open({ pool: { validateAfterIdleMillis: 0, ...pool } }, proxy.url)
    const all = await Promise.all(Array.from({ length: pool.size }, () => database.acquire()))
    await Promise.all(all.map((connection) => connection.release()))
    expect(database.stats()).toMatchObject({ idle: pool.size, creating: 0 })
    for (const link of proxy.links) {
      link.hold('toServer')
      link.hold('toClient')
    }
    return database
  }

  it.each([
    ['of one', { size: 1, maxOverflow: 0 }],
    ['of eight that may not grow', { size: 8, maxOverflow: 0 }],
    ['of eight that may', { size: 8, maxOverflow: 2 }],
    ['of thirty, with little patience', { size: 30, maxOverflow: 0, acquireTimeoutMillis: 3500 }],
  ])('answers in about two seconds when it is %s', async (_name, pool) => {
    const database = await silence(pool)
    const began = performance.now()
    expect(await database.fetchVal('select 1')).toBe(1)
    expect(performance.now() - began).toBeLessThan(pool.maxOverflow > 0 ? 1500 : ABOUT_TWO_SECONDS)
    await waitFor(() => database.stats().retired >= pool.size, {
      what: 'all silent connections to be closed',
    })
    expect(performance.now() - began).toBeLessThan(ABOUT_TWO_SECONDS + 1000)
  })

  it('serves all callers that come at the same time', async () => {
    const database = await silence({ size: 5, maxOverflow: 0 })
    const began = performance.now()
    const answers = Array.from({ length: 20 }, () => database.fetchVal('select 1'))
    expect(await Promise.all(answers)).toEqual(Array.from({ length: 20 }, () => 1))
    expect(performance.now() - began).toBeLessThan(ABOUT_TWO_SECONDS)
  })

  it('validates the other connections when a statement gets no answer, whether or not callers wait', async () => {
    const database = await silence({ size: 4, maxOverflow: 0, validateAfterIdleMillis: false })
    const error = await failure(database.fetchVal('select 1', {}, { timeoutMillis: 100 }))
    expect(error).toBeInstanceOf(QueryTimeoutError)
    await waitFor(() => database.stats().retired === 4, { what: 'all silent connections to be closed' })
    expect(await database.fetchVal('select 1')).toBe(1)
  })

  it('closes no connection that answers late', async () => {
    const pool = { size: 4, maxOverflow: 1, validateAfterIdleMillis: 0 }
    const database = await context.open({ pool }, proxy.url)
    const reasons: string[] = []
    database.on('retire', ({ reason }) => reasons.push(reason))
    const all = await Promise.all(Array.from({ length: 4 }, () => database.acquire()))
    await Promise.all(all.map((connection) => connection.release()))
    proxy.blackhole()
    const answer = database.fetchVal('select 1')
    await waitFor(() => database.stats().creating === 1, { what: 'another connection to be opened' })
    proxy.restore()
    expect(await answer).toBe(1)
    await waitFor(() => database.stats().creating === 0)
    expect(reasons.filter((reason) => reason !== 'extra')).toEqual([])
  })

  it('closes all silent connections once one was lost, however recently they were used', async () => {
    const pool = { min: 4, size: 4, validateAfterIdleMillis: 60_000, keepaliveMillis: 0 }
    const database = await context.open({ pool }, proxy.url)
    await waitFor(() => database.stats().idle === 4, { what: 'four idle connections' })
    // The server has died, and only one connection has noticed.
    const [first, ...silent] = proxy.links
    for (const link of silent) {
      link.hold('toServer')
      link.hold('toClient')
    }
    first?.cut('both')
    await waitFor(() => database.stats().created === 8, { what: 'a new generation', timeoutMillis: 10_000 })
    expect(await database.fetchVal('select 1')).toBe(1)
    expect(database.stats().retired).toBe(4)
  })

  /** Resolves when so many callers wait, and every idle connection is being validated. */
  const validating = (database: Database, waiting: number): Promise<unknown> => {
    const what = `${waiting} connections to be validated`
    return waitFor(() => database.stats().waiting === waiting && database.stats().idle === 0, { what })
  }

  it('validates connections that were in use when another was lost', async () => {
    const database = await context.open({ pool: { size: 2, maxOverflow: 0 } }, proxy.url)
    const lost = await database.acquire()
    const [first] = proxy.links
    const silent = await database.acquire()
    const second = proxy.links.find((link) => link !== first)
    for (const connection of [lost, silent]) await connection.fetchVal('select 1')
    second?.hold('toServer')
    second?.hold('toClient')
    first?.cut('both')
    await failure(lost.fetchVal('select 1'))
    await lost.release()
    await silent.release()
    const write = database.execute('create table t (id integer)')
    await validating(database, 1)
    second?.cut('both')
    expect(await write).toBeDefined()
    await context.admin('drop table t')
  })

  describe('as a statement arrives', () => {
    let database: Database
    const single = { size: 1, maxOverflow: 0 }

    beforeEach(async () => {
      database = await context.open({ pool: single })
      await database.execute('create table t (id integer)')
    })
    afterEach(async () => {
      await context.admin('drop table t')
    })

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

    /** Cuts the connection once, as soon as such a statement has passed. */
    const cutAt = (text: string): Promise<void> => proxy.trap(Buffer.from(text))

    it('retries a read on another connection', async () => {
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

    it('retries a read only once', async () => {
      const cuts = [cutAt('select id'), cutAt('select id')]
      expect(await failure(away.fetchAll('select id from t'))).toBeInstanceOf(ConnectionError)
      await Promise.all(cuts)
      expect(sent).toHaveLength(2)
    })

    it('does not retry a write', async () => {
      const cut = cutAt('insert')
      expect(await failure(away.execute('insert into t values (1)'))).toBeInstanceOf(ConnectionError)
      await cut
      expect(sent).toHaveLength(1)
    })

    it('does not retry a read that calls a function which may write', async () => {
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

    it('begins a transaction on another connection, and runs its work once', async () => {
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

    it('retries the first statement of a transaction on another connection, without storing rows twice', async () => {
      const cut = cutAt('insert')
      await away.transaction(async (tx) => {
        await tx.execute('insert into t values (1)')
        await tx.execute('insert into t values (2)')
      })
      await cut
      expect(await away.fetchAll('select id from t order by id')).toEqual([{ id: 1 }, { id: 2 }])
      expect(away.stats()).toMatchObject({ used: 0, retired: 1 })
    })

    it('retries the first statement of a transaction only once', async () => {
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

    it('does not retry a transaction that had begun', async () => {
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

    it('does not replace the connection of a caller that has used it before', async () => {
      const cut = cutAt('select 2')
      const work = away.connection(async (connection) => {
        await connection.execute('create temporary table own (id integer)')
        await connection.transaction((tx) => tx.fetchVal('select 2'))
      })
      expect(await failure(work)).toBeInstanceOf(ConnectionError)
      await cut
    })

    it('applies the time limit to both attempts together', async () => {
      const cut = cutAt('select 1')
      const rest: unknown[] = []
      const started = performance.now()
      const work = away.transaction(
        async (tx) => {
          const first = failure(tx.fetchVal('select 1'))
          await cut
          // Holds all traffic, so that the other connection cannot be opened.
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

  describe('between a function call and its answer', () => {
    const single = { size: 1, maxOverflow: 0 }

    beforeEach(async () => {
      const database = await context.open()
      await database.execute('create table t (id integer)')
    })
    afterEach(async () => {
      await context.admin('drop table t')
    })

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
      ['is in another schema', 'select app.count(1)'],
      ['stands before a comment', 'select note /* it */ (1)'],
      ['stands before a comment to the end of the line', 'select note -- it\n (1)'],
      ['stands far from its parenthesis', `select note${' '.repeat(60)}(1)`],
      ['stands in a second statement', 'select 1; call note_it()'],
    ])('does not retry a call of a function that %s', async (_, sql) => {
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
