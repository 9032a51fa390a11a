/** Deferred BEGIN: on PostgreSQL it is sent with the first statement of the transaction, which always runs inside. */
import { setTimeout as sleep } from 'node:timers/promises'
import {
  ConnectionError,
  type Database,
  DatabaseError,
  QueryError,
  QueryTimeoutError,
  sql,
  type Transaction,
} from '../../../src/database'
import { eachDatabase } from '../../support/each-database'
import { startProxy, type TcpProxy } from '../../support/tcp-proxy'
import { waitFor } from '../../support/wait-for'
import { failure, gate } from '../support'

eachDatabase('a transaction', (context) => {
  let database: Database
  /** Sees what other clients see. */
  let observer: Database

  beforeEach(async () => {
    database = await context.open({ pool: { size: 1, maxOverflow: 0 } })
    observer = await context.open()
    await database.execute('create table t (id integer primary key)')
  })
  afterEach(async () => {
    await context.admin('drop table t')
  })

  const ids = async (): Promise<unknown[]> =>
    (await observer.fetchAll('select id from t order by id')).map(({ id }) => id)

  const insert = 'insert into t values (1)'
  const firsts: [string, (tx: Transaction) => Promise<unknown>][] = [
    ['a statement', (tx) => tx.execute(insert)],
    ['a builder', (tx) => tx.execute(database.table('t').insert({ id: 1 }))],
    ['a raw of Knex', () => Promise.resolve(database.knex.raw(insert))],
    ['many rows', (tx) => tx.executeMany('insert into t values (:id)', [{ id: 1 }])],
    ['a transaction in it', (tx) => tx.transaction((inner) => inner.execute(insert))],
    [
      'a transaction in it that is rolled back',
      async (tx) => {
        await failure(
          tx.transaction(async (inner) => {
            await inner.execute('insert into t values (2)')
            throw new Error('out')
          }),
        )
        await tx.execute(insert)
      },
    ],
    [
      'rows that are read one by one',
      async (tx) => {
        for await (const row of tx.iterate('select 1 as id')) expect(row).toEqual({ id: 1 })
        await tx.execute(insert)
      },
    ],
    [
      'a value that cannot be sent',
      async (tx) => {
        expect(await failure(tx.execute('insert into t values (:id)', { id: Symbol('no') }))).toBeDefined()
        await tx.execute(insert)
      },
    ],
  ]

  if (context.dialect === 'postgresql') {
    const several = `${insert}; select 2`
    firsts.push(['two statements in one raw', () => Promise.resolve(database.knex.raw(several))])
  }

  it.each(firsts)('whose first statement is %s is all or nothing', async (_, first) => {
    await failure(
      database.transaction(async (tx) => {
        await first(tx)
        throw new Error('out')
      }),
    )
    expect(await ids()).toEqual([])
    await database.transaction(async (tx) => {
      await first(tx)
      expect(await ids()).toEqual([])
    })
    expect(await ids()).toEqual([1])
    expect(database.stats()).toMatchObject({ used: 0, created: 1, retired: 0 })
  })

  it('whose first statement fails is rolled back, and its connection is reusable', async () => {
    const work = database.transaction(async (tx) => {
      await tx.execute('insert into nowhere values (1)')
    })
    expect(await failure(work)).toBeInstanceOf(QueryError)
    await database.execute(insert)
    expect(await ids()).toEqual([1])
    expect(database.stats()).toMatchObject({ used: 0, created: 1, retired: 0 })
  })

  it('without statements emits query events for BEGIN and COMMIT, or ROLLBACK', async () => {
    const told: string[] = []
    database.on('query', ({ sql: text }) => told.push(text.split(' ')[0] ?? ''))
    await database.transaction(async () => undefined)
    await failure(database.transaction(() => Promise.reject(new Error('out'))))
    expect(told).toEqual(['BEGIN', 'COMMIT', 'BEGIN', 'ROLLBACK'])
    expect(await ids()).toEqual([])
    expect(database.stats()).toMatchObject({ used: 0, created: 1, retired: 0 })
  })

  it('is reported as open in holders() before its first statement', async () => {
    await database.transaction(async () => {
      expect(database.holders()).toMatchObject([{ inTransaction: true }])
    })
  })

  if (context.dialect === 'sqlite') return

  const stateOf = (pid: unknown): Promise<unknown> =>
    observer.fetchVal('select state from pg_stat_activity where pid = :pid', { pid })

  it('leaves the server idle until its first statement', async () => {
    const pid = await database.fetchVal('select pg_backend_pid()')
    await database.transaction(async (tx) => {
      expect(await stateOf(pid)).toBe('idle')
      await tx.fetchVal('select 1')
      expect(await stateOf(pid)).toBe('idle in transaction')
    })
    expect(await stateOf(pid)).toBe('idle')
  })

  interface Raw {
    query(text: string): Promise<{ rows: unknown[] }>
  }

  it.each(['before it began', 'inside it'])(
    'includes statements sent by connection.raw, read %s',
    async (when) => {
      const work = database.connection(async (connection) => {
        const early = when === 'before it began' ? (connection.raw as Raw) : null
        await connection.transaction(async (tx) => {
          const raw = early ?? (connection.raw as Raw)
          await raw.query(insert)
          expect(await tx.fetchVal('select count(*)::int from t')).toBe(1)
          throw new Error('out')
        })
      })
      await failure(work)
      expect(await ids()).toEqual([])
    },
  )

  it('is rolled back as a whole when a prepared statement is gone after connection.raw was used', async () => {
    const work = database.connection((connection) =>
      connection.transaction(async (tx) => {
        const raw = connection.raw as Raw
        await tx.execute('insert into t values (:id)', { id: 1 })
        await raw.query('deallocate all')
        await tx.execute('insert into t values (:id)', { id: 2 })
      }),
    )
    expect(await failure(work)).toBeInstanceOf(QueryError)
    expect(await ids()).toEqual([])
  })

  it('has its statements cancelled by a time limit after connection.raw was used', async () => {
    let error: unknown
    await database.connection(async (connection) => {
      const pid = await connection.fetchVal('select pg_backend_pid()')
      const work = connection.transaction(async (tx) => {
        expect(connection.raw).toBeDefined()
        await tx.fetchVal('select pg_sleep(60)', {}, { timeoutMillis: 200 })
      })
      error = await failure(work)
      expect(await stateOf(pid)).toBe('idle')
    })
    expect(error).toBeInstanceOf(QueryTimeoutError)
  })

  it('is not retried on another connection when its first statement was running', async () => {
    const work = failure(database.transaction((tx) => tx.fetchVal('select pg_sleep(60)')))
    const running = "from pg_stat_activity where query = 'select pg_sleep(60)' and state = 'active'"
    await waitFor(async () => (await observer.fetchVal(`select count(*)::int ${running}`)) === 1)
    await observer.fetchVal(`select pg_terminate_backend(pid) ${running}`)
    expect(await work).toBeInstanceOf(ConnectionError)
    expect(database.stats().created).toBe(1)
  })

  describe('behind a TCP proxy', () => {
    let proxy: TcpProxy
    beforeEach(async () => {
      proxy = await startProxy(context.url)
    })
    afterEach(() => proxy.close())

    it('is counted as waiting, not as used, while it waits for another connection', async () => {
      const opening = gate()
      let isHeldUp = false
      const away = await context.open(
        {
          pool: { size: 1, maxOverflow: 0, maxWaiters: 1 },
          afterConnect: async () => {
            if (isHeldUp) await opening.opened
          },
        },
        proxy.url,
      )
      const work = away.transaction(async (tx) => {
        expect(away.stats()).toMatchObject({ used: 1, waiting: 0 })
        isHeldUp = true
        proxy.cut('both')
        return tx.fetchVal('select 1')
      })
      await waitFor(() => away.stats().waiting === 1, { what: 'it to wait' })
      expect(away.stats()).toMatchObject({ used: 0, waiting: 1 })
      expect(away.holders()).toEqual([])
      // Another caller can wait meanwhile.
      const other = away.fetchVal('select 2')
      await waitFor(() => away.stats().waiting === 2, { what: 'another one to wait' })
      opening.open()
      expect(await Promise.all([work, other])).toEqual([1, 2])
      expect(away.stats()).toMatchObject({ used: 0, waiting: 0 })
    })

    it('runs no statement outside of it when BEGIN has failed', async () => {
      const away = await context.open(
        {
          pool: { size: 1, maxOverflow: 0 },
          afterConnect: async (connection) => {
            await connection.execute("set statement_timeout = '150ms'")
          },
        },
        proxy.url,
      )
      await away.fetchVal('select 1')
      // The server has received the name of the statement, and not the rest.
      const held = proxy.trap(Buffer.from('BEGIN\0\0\0'), { act: () => sleep(400) })
      let later: unknown
      const work = away.transaction(async (tx) => {
        await failure(tx.fetchVal('select 1'))
        later = await failure(tx.execute(insert))
      })
      expect(await failure(work)).toBeInstanceOf(DatabaseError)
      await held
      expect(later).toBeInstanceOf(ConnectionError)
      expect(await ids()).toEqual([])
      expect(await away.fetchVal('select 2')).toBe(2)
    })

    it('sends no statement after BEGIN once its time limit is over', async () => {
      const away = await context.open({ pool: { size: 1, maxOverflow: 0 } }, proxy.url)
      await away.fetchVal('select 1')
      const held = proxy.trap(Buffer.from('BEGIN\0'), { answered: 0, act: () => sleep(120) })
      const late = 'do $$ begin insert into t values (7); commit; end $$'
      const work = away.transaction((tx) => tx.execute(late, {}, { timeoutMillis: 20 }))
      expect(await failure(work)).toBeInstanceOf(QueryTimeoutError)
      await held
      expect(await away.fetchVal('select 2')).toBe(2)
    })

    it('may take another connection in a pool with maxWaiters 0', async () => {
      const away = await context.open({ pool: { size: 1, maxOverflow: 0, maxWaiters: 0 } }, proxy.url)
      const cut = proxy.trap(Buffer.from('insert into t'))
      await away.transaction((tx) => tx.execute(insert))
      await cut
      expect(await ids()).toEqual([1])
      expect(away.stats()).toMatchObject({ used: 0, waiting: 0, timedOut: 0 })
    })
  })

  it('has its isolation level and read-only mode from the first statement on', async () => {
    const readOnly = database.transaction((tx) => tx.execute(insert), { readOnly: true })
    expect((await failure(readOnly)).message).toMatch(/read-only/)
    await database.transaction(
      async (tx) => {
        expect(await tx.fetchVal('show transaction_isolation')).toBe('repeatable read')
        await observer.execute(insert)
        expect(await tx.fetchAll('select * from t')).toEqual([{ id: 1 }])
        await observer.execute('insert into t values (2)')
        expect(await tx.fetchAll('select * from t')).toEqual([{ id: 1 }])
      },
      { isolation: 'repeatable read' },
    )
  })

  it.each([0, 2, 250])('begins with a cache of %s prepared statements', async (preparedStatements) => {
    const own = await context.open({ pool: { size: 1, maxOverflow: 0 }, preparedStatements })
    for (let round = 0; round < 5; round += 1) {
      await own.transaction(async (tx) => {
        expect(await tx.fetchVal(sql`select ${round}::int`)).toBe(round)
        await tx.execute(`insert into t values (${round})`)
      })
    }
    expect(await ids()).toEqual([0, 1, 2, 3, 4])
  })

  it('begins again when the columns of its first statement have changed', async () => {
    const read = (tx: Pick<Transaction, 'fetchAll'>): Promise<unknown> => tx.fetchAll('select * from t')
    await database.execute(insert)
    await database.transaction(read)
    await observer.execute('alter table t add column name text')
    await database.transaction(async (tx) => {
      expect(await read(tx)).toEqual([{ id: 1, name: null }])
      await tx.execute('insert into t values (2)')
    })
    expect(await ids()).toEqual([1, 2])
  })

  it('begins again when the server has dropped all prepared statements', async () => {
    await database.transaction((tx) => tx.execute(insert))
    const pid = await database.fetchVal('select pg_backend_pid()')
    await database.connection((connection) => connection.execute('deallocate all'))
    await database.transaction((tx) => tx.execute('insert into t values (2)'))
    expect(await ids()).toEqual([1, 2])
    expect(await database.fetchVal('select pg_backend_pid()')).toBe(pid)
  })
})
