/** LISTEN and NOTIFY: who hears what, from when to when, and what is told of a loss. */
import {
  ConfigurationError,
  ConnectionError,
  Database,
  NotConnectedError,
  QueryCanceledError,
  runInScope,
} from '../../../src/database'
import { eachDatabase } from '../../support/each-database'
import { startProxy, type TcpProxy } from '../../support/tcp-proxy'
import { waitFor } from '../../support/wait-for'
import { failure, gate, runScript } from '../support'

const NOTIFY = 'select pg_notify(:channel, :payload)'
/** The process ids of the connections that have asked for nothing but to listen, or to be pinged. */
const LISTENERS = `select pid from pg_stat_activity where datname = current_database() and query ~ '^(UN)?LISTEN'`

eachDatabase('listen()', (context) => {
  if (context.dialect === 'sqlite') {
    it('is refused with what to use instead', async () => {
      const database = await context.open()
      const error = await failure(database.listen('posts', () => undefined))
      expect(error).toBeInstanceOf(ConfigurationError)
      expect(error.message).toMatch(/sqlite does not have.*afterCommit/s)
    })
    return
  }

  const notify = (database: Database, channel: string, payload: string): Promise<unknown> =>
    database.execute(NOTIFY, { channel, payload })
  const listeners = (): Promise<Record<string, unknown>[]> => context.admin(LISTENERS)
  const kill = async (): Promise<void> => {
    await context.admin(`select pg_terminate_backend(pid) from (${LISTENERS}) as listeners`)
  }
  /** Sends until what was sent is heard, since what is sent while a connection is away is lost. */
  const heardAgain = (database: Database, channel: string, heard: readonly string[]): Promise<unknown> =>
    waitFor(async () => {
      await notify(database, channel, 'again')
      return heard.includes('again')
    })

  it('hears what is sent to its channel, in order, and nothing of other channels', async () => {
    const database = await context.open()
    const heard: string[] = []
    await database.listen('posts', (payload) => heard.push(`posts ${payload}`))
    await database.listen('users', (payload) => heard.push(`users ${payload}`))
    for (const [channel, payload] of [
      ['posts', '1'],
      ['users', '2'],
      ['others', '3'],
      ['posts', ''],
      ['users', 'é"\'\n'],
    ] as const)
      await notify(database, channel, payload)
    await waitFor(() => heard.length === 4)
    expect(heard).toEqual(['posts 1', 'users 2', 'posts ', 'users é"\'\n'])
  })

  it('hears of a transaction when it commits, and never of one that was rolled back', async () => {
    const database = await context.open()
    const heard: string[] = []
    await database.listen('posts', (payload) => heard.push(payload))
    const sent = gate()
    const mayCommit = gate()
    const committing = database.transaction(async (tx) => {
      await tx.execute(NOTIFY, { channel: 'posts', payload: 'committed' })
      sent.open()
      await mayCommit.opened
    })
    await sent.opened
    await database.transaction(async (tx) => tx.execute(NOTIFY, { channel: 'posts', payload: 'undone' }), {
      forceRollback: true,
    })
    await notify(database, 'posts', 'before')
    await waitFor(() => heard.length === 1)
    mayCommit.open()
    await committing
    await waitFor(() => heard.length === 2)
    expect(heard).toEqual(['before', 'committed'])
  })

  it('takes names as they are written, up to 63 bytes, and refuses what PostgreSQL would cut', async () => {
    const database = await context.open()
    for (const channel of ['Posts', 'a "b" c', 'select', ';', 'é'.repeat(31) + 'x', 'x'.repeat(63)]) {
      const heard: string[] = []
      await using _listening = await database.listen(channel, (payload) => heard.push(payload))
      await notify(database, channel, channel)
      await waitFor(() => heard.length === 1)
      expect(heard).toEqual([channel])
    }
    for (const channel of ['', 'a\0b', 'x'.repeat(64), 'é'.repeat(32), 7 as unknown as string]) {
      const error = await failure(database.listen(channel, () => undefined))
      expect(error).toBeInstanceOf(ConfigurationError)
      expect(error.message).toMatch(/1 to 63 bytes/)
    }
    await expect(database.listen('posts', 'no function' as never)).rejects.toThrow(ConfigurationError)
    await expect(
      database.listen('posts', () => undefined, { onLoss: () => undefined } as never),
    ).rejects.toThrow(/onReconnect/)
    expect(await waitFor(async () => (await listeners()).length === 0)).toBe(true)
  })

  it('has one connection for all channels, beside the pool, from the first call to the last disposal', async () => {
    const database = await context.open({ pool: { size: 1, maxOverflow: 0 } })
    const before = database.stats()
    const heard: string[] = []
    const all = await Promise.all(
      ['a', 'b', 'a', 'c'].map((channel, index) =>
        database.listen(channel, (payload) => heard.push(`${channel}${index} ${payload}`)),
      ),
    )
    expect(await listeners()).toHaveLength(1)
    expect(database.stats()).toEqual(before)
    // A full pool keeps nobody from listening, nor from hearing.
    await database.connection(async (held) => {
      all.push(await database.listen('d', (payload) => heard.push(`d ${payload}`)))
      for (const channel of ['a', 'b', 'c', 'd']) await held.execute(NOTIFY, { channel, payload: '1' })
      await waitFor(() => heard.length === 5)
    })
    expect(heard.toSorted()).toEqual(['a0 1', 'a2 1', 'b1 1', 'c3 1', 'd 1'])
    heard.length = 0
    const [first, ...others] = all
    await first?.[Symbol.asyncDispose]()
    await others[0]?.[Symbol.asyncDispose]()
    await others[0]?.[Symbol.asyncDispose]()
    for (const channel of ['a', 'b', 'c']) await notify(database, channel, '2')
    await waitFor(() => heard.length === 2)
    expect(heard.toSorted()).toEqual(['a2 2', 'c3 2'])
    expect(await listeners()).toHaveLength(1)
    for (const one of others) await one[Symbol.asyncDispose]()
    expect(await waitFor(async () => (await listeners()).length === 0)).toBe(true)
    await using _again = await database.listen('a', (payload) => heard.push(`again ${payload}`))
    await notify(database, 'a', '3')
    await waitFor(() => heard.includes('again 3'))
    expect(heard).toHaveLength(3)
  })

  it('runs handlers outside of the scope and transaction that called it', async () => {
    const database = await context.open()
    await database.execute('create table heard (payload text)')
    const done = gate()
    await failure(
      runInScope({ label: 'caller' }, () =>
        database.transaction(async () => {
          await database.listen('posts', async (payload) => {
            await database.execute('insert into heard values (:payload)', { payload })
            done.open()
          })
          throw new Error('rolled back')
        }),
      ),
    )
    const labels: unknown[] = []
    database.on('query', ({ sql, label }) => {
      if (sql.startsWith('insert')) labels.push(label)
    })
    await notify(database, 'posts', 'hello')
    await done.opened
    expect(await database.fetchAll('select * from heard')).toEqual([{ payload: 'hello' }])
    expect(labels).toEqual([null])
    await database.execute('drop table heard')
  })

  it('leaves an error of a handler uncaught, and goes on', async () => {
    const { stdout } = await runScript(`
      const { Database } = require('./src/database')
      const database = new Database(${JSON.stringify(context.url)})
      const log = []
      process.on('uncaughtException', ({ message }) => log.push(message))
      process.on('unhandledRejection', ({ message }) => log.push(message))
      const end = async () => {
        await database.disconnect()
        process.stdout.write(log.join())
      }
      const start = async () => {
        await database.connect()
        await database.listen('posts', (payload) => { throw new Error('thrown ' + payload) })
        await database.listen('posts', async (payload) => { throw new Error('rejected ' + payload) })
        await database.listen('posts', (payload) => { log.push(payload); if (payload === '2') setImmediate(end) })
        for (const payload of ['1', '2']) await database.execute('${NOTIFY}', { channel: 'posts', payload })
      }
      void start()`)
    expect(stdout.split(',').toSorted()).toEqual([
      '1',
      '2',
      'rejected 1',
      'rejected 2',
      'thrown 1',
      'thrown 2',
    ])
  })

  it('keeps the process alive until it is disposed of', async () => {
    const { stdout } = await runScript(`
      const { Database } = require('./src/database')
      const database = new Database(${JSON.stringify(context.url)})
      const start = async () => {
        await database.connect()
        const listening = await database.listen('posts', async (payload) => {
          process.stdout.write('heard ' + payload)
          await listening[Symbol.asyncDispose]()
        })
        // The pool's connections would not keep it alive.
        await database.execute("select pg_notify('posts', 'it') from pg_sleep(0.3)")
      }
      void start()`)
    expect(stdout).toBe('heard it')
  })

  it('comes back when its connection was killed, takes every channel up again, and tells each caller once', async () => {
    const database = await context.open()
    const told: string[] = []
    const heard: Record<'a' | 'b', string[]> = { a: [], b: [] }
    for (const channel of ['a', 'b'] as const) {
      await database.listen(channel, (payload) => heard[channel].push(payload), {
        onReconnect: () => told.push(channel),
      })
    }
    await database.listen('a', () => undefined)
    const [before] = await listeners()
    await kill()
    await waitFor(() => told.length === 2)
    const after = await listeners()
    expect(after).toHaveLength(1)
    expect(after[0]).not.toEqual(before)
    for (const channel of ['a', 'b'] as const) await notify(database, channel, 'after')
    await waitFor(() => heard.a.length + heard.b.length === 2)
    expect(heard).toEqual({ a: ['after'], b: ['after'] })
    await kill()
    await waitFor(() => told.length === 4)
    expect(told.toSorted()).toEqual(['a', 'a', 'b', 'b'])
  })

  it('tells of a loss before anything that is sent after it, so that what was missed can be read', async () => {
    const database = await context.open()
    await database.execute('create table t (id integer generated always as identity)')
    const known = new Set<number>()
    const read = async (): Promise<void> => {
      for (const { id } of await database.fetchAll<{ id: number }>('select id from t')) known.add(id)
    }
    await database.listen('t', (payload) => known.add(Number(payload)), { onReconnect: read })
    let count = 0
    for (let round = 0; round < 5; round += 1) {
      const killing = kill()
      for (let n = 0; n < 20; n += 1) {
        count += 1
        await database.fetchVal(
          "with made as (insert into t default values returning id) select pg_notify('t', id::text) from made",
        )
      }
      await killing
      await waitFor(() => known.size === count)
    }
    expect([...known].toSorted((one, other) => one - other)).toEqual(
      Array.from({ length: count }, (_, n) => n + 1),
    )
    await database.execute('drop table t')
  })

  it('notices a connection that is half-open by itself, and replaces it', async () => {
    const proxy = await startProxy(context.url)
    try {
      const database = await context.open({ pool: { keepaliveMillis: 50, min: 0 } }, proxy.url)
      const heard: string[] = []
      let told = 0
      await database.listen('posts', (payload) => heard.push(payload), { onReconnect: () => (told += 1) })
      const { accepted } = proxy
      proxy.blackhole()
      // It has given the silent connection up, and tries another one.
      await waitFor(() => proxy.accepted > accepted, { timeoutMillis: 10_000 })
      proxy.restore()
      await waitFor(() => told === 1, { timeoutMillis: 10_000 })
      await heardAgain(database, 'posts', heard)
      expect(told).toBe(1)
      await database.disconnect()
    } finally {
      await proxy.close()
    }
  })

  it('is refused before connect(), while the Database disconnects, and after', async () => {
    const database = context.track(new Database(context.url))
    expect(await failure(database.listen('posts', () => undefined))).toBeInstanceOf(NotConnectedError)
    await database.connect()
    const heard: string[] = []
    await database.listen('posts', (payload) => heard.push(payload))
    const held = await database.acquire()
    const disconnecting = database.disconnect()
    await waitFor(async () => (await failure(database.fetchVal('select 1'))) instanceof NotConnectedError)
    expect(await failure(database.listen('posts', () => undefined))).toBeInstanceOf(NotConnectedError)
    await context.admin("select pg_notify('posts', 'meanwhile')")
    await held.release()
    await disconnecting
    expect(await waitFor(async () => (await listeners()).length === 0)).toBe(true)
    // Connecting again brings nobody back.
    await database.connect()
    await notify(database, 'posts', 'late')
    expect(await listeners()).toEqual([])
    expect(heard).toEqual([])
  })

  describe('while the server is out of reach', () => {
    let proxy: TcpProxy
    beforeEach(async () => {
      proxy = await startProxy(context.url)
    })
    afterEach(() => proxy.close())

    it('lets disconnect() end at once, and a caller that waits hear of it', async () => {
      const database = await context.open({}, proxy.url)
      let retries = 0
      database.on('connectRetry', () => (retries += 1))
      let told = 0
      await database.listen('posts', () => undefined, { onReconnect: () => (told += 1) })
      await proxy.close()
      await waitFor(() => retries >= 3)
      const waiting = failure(database.listen('posts', () => undefined))
      const started = performance.now()
      await database.disconnect()
      expect(performance.now() - started).toBeLessThan(1000)
      expect(await waiting).toBeInstanceOf(NotConnectedError)
      expect(told).toBe(0)
    })

    it('lets a caller wait for the acquire timeout, or until its signal is aborted, and no longer', async () => {
      const database = await context.open({ pool: { acquireTimeoutMillis: 200 } }, proxy.url)
      await proxy.close()
      const error = await failure(database.listen('posts', () => undefined))
      expect(error).toBeInstanceOf(ConnectionError)
      expect(error.message).toMatch(/refused|lost|reached/i)
      const aborting = new AbortController()
      const waiting = failure(
        runInScope({ signal: aborting.signal }, () => database.listen('posts', () => undefined)),
      )
      aborting.abort()
      expect(await waiting).toBeInstanceOf(QueryCanceledError)
    })

    it('ends at once when all are disposed of, and begins anew with the next caller', async () => {
      const database = await context.open({}, proxy.url)
      let retries = 0
      database.on('connectRetry', () => (retries += 1))
      const listening = await database.listen('posts', () => undefined)
      await proxy.close()
      await waitFor(() => retries >= 2)
      await listening[Symbol.asyncDispose]()
      const after = retries
      const heard: string[] = []
      const again = database.listen('posts', (payload) => heard.push(payload))
      await waitFor(() => retries > after)
      await proxy.accept()
      await again
      await heardAgain(database, 'posts', heard)
      expect(new Set(heard)).toEqual(new Set(['again']))
      await database.disconnect()
    })
  })

  it('refuses the caller what the server refuses, and keeps the connection of the others', async () => {
    const database = await context.open()
    const heard: string[] = []
    await database.listen('a', (payload) => heard.push(payload))
    await context.admin('create role nobody_listens login')
    const url = new URL(context.url)
    url.username = 'nobody_listens'
    url.password = ''
    const other = await context.open({}, url.href)
    await context.admin(`alter role nobody_listens nologin`)
    const error = await failure(other.listen('a', () => undefined))
    expect(error).toBeInstanceOf(ConnectionError)
    expect(error.message).toMatch(/not permitted to log in/)
    await other.disconnect()
    await context.admin('drop role nobody_listens')
    await notify(database, 'a', '1')
    await waitFor(() => heard.length === 1)
  })
})
