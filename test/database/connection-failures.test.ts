/** The database cannot be reached, refuses the login, or ends connections: which failures are retried, and what the error says. */
import dns, { type LookupAddress, type LookupAllOptions } from 'node:dns'
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { ConnectionError, type ConnectRetryEvent, Database } from '../../src/database'
import { failure, gate } from './support'
import { eachDatabase } from '../support/each-database'
import { freePort } from '../support/free-port'
import { startProxy } from '../support/tcp-proxy'
import { waitFor } from '../support/wait-for'

eachDatabase('a database that cannot be reached', (context) => {
  if (context.dialect === 'sqlite') {
    it('fails at once when its folder is missing, and the error says what to do', async () => {
      const file = path.join(path.sep, 'no', 'such', 'folder', 'x.db')
      const error = await failure(new Database(`sqlite:///${file}`).connect())
      expect(error).toBeInstanceOf(ConnectionError)
      expect(error).toMatchObject({ code: 'CONNECTION_FAILED', retryable: false })
      expect(error.message).toMatch(/no\/such\/folder\/x\.db.*folder must exist/)
    })
    return
  }

  it('is retried until connectTimeoutMillis is over, and then fails with the cause of the last attempt', async () => {
    const port = await freePort()
    const database = new Database(`postgresql://app:hunter2@127.0.0.1:${port}/d`, {
      connectTimeoutMillis: 400,
    })
    const retries: ConnectRetryEvent[] = []
    database.on('connectRetry', (event) => retries.push(event))
    const started = performance.now()
    const error = await failure(database.connect())
    const tookMillis = performance.now() - started

    expect(error).toBeInstanceOf(ConnectionError)
    expect(error.message).toMatch(/Nothing listens there/)
    expect(error.message).not.toContain('hunter2')
    expect(error.cause).toMatchObject({ code: 'ECONNREFUSED' })
    expect(tookMillis).toBeGreaterThan(390)
    expect(tookMillis).toBeLessThan(3000)
    expect(retries.length).toBeGreaterThan(1)
    expect(retries.map(({ attempt }) => attempt)).toEqual(retries.map((_, index) => index + 1))
    expect(retries[0]?.error).toBeInstanceOf(ConnectionError)
    // An attempt that was in its back-off, of 300 ms at most, finds the pool closed, and that is not news of the database.
    await sleep(400)
    expect(retries.filter(({ error: { message } }) => !message.includes('Nothing listens there'))).toEqual([])
    expect(database.isConnected).toBe(false)
  })

  it('can be connected to after an earlier connect() failed', async () => {
    const url = new URL(context.url)
    const database = context.track(new Database(context.url, { afterConnect: () => check() }))
    let check = async (): Promise<void> => {
      throw new Error(`not yet at ${url.pathname}`)
    }
    await failure(database.connect())
    check = () => Promise.resolve()
    await database.connect()
    expect(await database.fetchVal('select 1')).toBe(1)
  })

  it('fails at once when no database of that name exists', async () => {
    const url = new URL(context.url)
    url.pathname = '/no_such_database'
    const database = new Database(url.href)
    const retries: ConnectRetryEvent[] = []
    database.on('connectRetry', (event) => retries.push(event))
    const error = await failure(database.connect())
    expect(error).toBeInstanceOf(ConnectionError)
    expect(error).toMatchObject({ retryable: false, cause: { code: '3D000' } })
    expect(error.message).toMatch(/"no_such_database" does not exist.*Create the database/)
    expect(retries).toEqual([])
  })

  it('fails at once when the user is unknown, and the error shows no password', async () => {
    const url = new URL(context.url)
    Object.assign(url, { username: 'nobody_here', password: 'hunter2' })
    const error = await failure(new Database(url.href).connect())
    expect(error).toBeInstanceOf(ConnectionError)
    expect(error).toMatchObject({ retryable: false, cause: { code: '28000' } })
    expect(error.message).toMatch(/nobody_here.*Check the user name and the password/)
    expect(error.message).not.toContain('hunter2')
  })

  it('fails at once when its host name is unknown', async () => {
    const error = await failure(new Database('postgresql://db.invalid/d').connect())
    expect(error).toBeInstanceOf(ConnectionError)
    expect(error).toMatchObject({ retryable: false, cause: { code: 'ENOTFOUND' } })
    expect(error.message).toMatch(/host name/)
  })

  it('fails at once when its Unix socket does not exist', async () => {
    const error = await failure(new Database('postgresql:///d?host=/no/such/folder').connect())
    expect(error).toMatchObject({ retryable: false, cause: { code: 'ENOENT' } })
  })

  it.each(['EAI_AGAIN', 'ENOTFOUND', 'EAI_FAIL'])(
    'is retried when a host name that resolved before fails to resolve with %s',
    async (code) => {
      let failures = 0
      let isKnown = true
      const { lookup } = dns
      const find = (
        host: string,
        options: LookupAllOptions,
        done: (error: Error | null, addresses: LookupAddress[]) => void,
      ): void => {
        if (isKnown) {
          lookup('127.0.0.1', options, done)
          return
        }
        failures += 1
        isKnown = failures === 3
        setImmediate(() => done(Object.assign(new Error(`getaddrinfo ${code} ${host}`), { code }), []))
      }
      const lookingUp = jest.spyOn(dns, 'lookup').mockImplementation(find as typeof lookup)
      try {
        const url = context.url.replace('127.0.0.1', 'db.test')
        const database = await context.open({ pool: { size: 1, maxOverflow: 0 } }, url)
        const pid = await database.fetchVal('select pg_backend_pid()')
        isKnown = false
        await context.admin(`select pg_terminate_backend(${Number(pid)})`)
        expect(await database.fetchVal('select 1')).toBe(1)
        expect(failures).toBe(3)
      } finally {
        lookingUp.mockRestore()
      }
    },
  )

  it('fails no query when only idle connections were terminated', async () => {
    const database = await context.open({ pool: { size: 3, maxOverflow: 0, validateAfterIdleMillis: 0 } })
    for (let round = 0; round < 10; round += 1) {
      await Promise.all([1, 2, 3].map(() => database.fetchVal('select 1')))
      await context.admin(
        'select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()',
      )
      expect(await database.fetchVal('select 1')).toBe(1)
    }
    expect(database.stats().used).toBe(0)
  })

  it('fails the query that was running when its connection was terminated, and no later one', async () => {
    const database = await context.open({ pool: { size: 1, maxOverflow: 0 } })
    const lost = failure(database.execute('do $$ begin perform pg_sleep(600); end $$'))
    await waitFor(
      async () =>
        (
          await context.admin(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and query like 'do %' and state = 'active' and pid <> pg_backend_pid()",
          )
        ).length > 0,
    )
    expect(await lost).toBeInstanceOf(ConnectionError)
    expect(await database.fetchVal('select 1')).toBe(1)
    expect(database.stats()).toMatchObject({ used: 0, created: 2, retired: 1 })
  })

  it('leaves the first error of a transaction whose connection was terminated, and fails no later one', async () => {
    const database = await context.open({ pool: { size: 1, maxOverflow: 0 } })
    await database.execute('create table t (id integer)')
    const terminate = async (): Promise<void> => {
      const pid = await database.fetchVal<number>('select pg_backend_pid()')
      await context.admin(`select pg_terminate_backend(${pid})`)
    }
    const mine = new Error('mine')
    const failing = database.transaction(async () => {
      await database.execute('insert into t values (1)')
      await terminate()
      throw mine
    })
    expect(await failure(failing)).toBe(mine)

    const lost = database.transaction(async () => {
      await database.execute('insert into t values (2)')
      await terminate()
      await database.execute('insert into t values (3)')
    })
    expect(await failure(lost)).toBeInstanceOf(ConnectionError)
    expect(await database.transaction(() => database.fetchAll('select * from t'))).toEqual([])
  })
})

eachDatabase('connect()', (context) => {
  it('rejects within connectTimeoutMillis when afterConnect never resolves', async () => {
    const opened = gate()
    const database = context.track(
      new Database(context.url, { connectTimeoutMillis: 200, afterConnect: () => opened.opened }),
    )
    const started = performance.now()
    const error = await failure(database.connect())
    expect(performance.now() - started).toBeLessThan(1500)
    expect(error).toBeInstanceOf(ConnectionError)
    opened.open()
  })

  if (context.dialect === 'postgresql') {
    it('rejects within connectTimeoutMillis when the server accepts and never answers', async () => {
      const sockets: Socket[] = []
      const server = createServer((socket) => sockets.push(socket)).listen(await freePort(), '127.0.0.1')
      await once(server, 'listening')
      const { port } = server.address() as { port: number }
      const silent = new Database(`postgresql://127.0.0.1:${port}/d`, { connectTimeoutMillis: 200 })
      const started = performance.now()
      const error = await failure(silent.connect())
      const tookMillis = performance.now() - started
      for (const socket of sockets) socket.destroy()
      server.close()
      expect(error).toBeInstanceOf(ConnectionError)
      expect(tookMillis).toBeLessThan(1500)
    })

    it('retries for connectTimeoutMillis, not acquireTimeoutMillis, and rejects with the real cause', async () => {
      const proxy = await startProxy(context.url)
      const { url } = proxy
      await proxy.close()
      const away = new Database(url, { connectTimeoutMillis: 600, pool: { acquireTimeoutMillis: 50 } })
      const error = await failure(away.connect())
      expect(error).toBeInstanceOf(ConnectionError)
      expect(error.message).toMatch(/Nothing listens there/)
    })
  }
})
