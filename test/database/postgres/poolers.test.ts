/** PostgreSQL behind a pooler that lends the server's processes by the transaction. */
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { Database } from '../../../src/database'
import { eachDatabase } from '../../support/each-database'
import { freePort } from '../../support/free-port'
import { startPgBouncer } from '../../support/pgbouncer'
import { report } from '../../support/report'
import { startTransactionPooler } from '../../support/transaction-pooler'
import { waitFor } from '../../support/wait-for'
import { failure } from '../support'

const POOLERS = {
  'a stand-in': startTransactionPooler,
  ...(!startPgBouncer.isMissing && { PgBouncer: startPgBouncer }),
}

eachDatabase('a pooler', (context) => {
  if (context.dialect === 'sqlite') {
    it('is of PostgreSQL only', () => expect(context.dialect).toBe('sqlite'))
    return
  }

  if (startPgBouncer.isMissing) report('poolers', { PgBouncer: 'not installed, and so not tested' })

  describe.each(Object.entries(POOLERS))('%s in transaction mode', (_, start) => {
    it('survives our cancel requests', async () => {
      await using pooler = await start(context.url)
      const database = await context.open({}, pooler.url)
      for (let n = 0; n < 30; n += 1) {
        const sleeping = database.fetchVal('select pg_sleep(60)', {}, { timeoutMillis: 30 })
        expect(await failure(sleeping)).toMatchObject({ name: 'QueryTimeoutError' })
      }
      expect(await database.fetchVal('select 1')).toBe(1)
      expect(pooler.hasDied).toBe(false)
    })

    it('lets one caller at a time into exclusively(), however many processes ask', async () => {
      await using pooler = await start(context.url)
      const databases = await Promise.all(Array.from({ length: 4 }, () => context.open({}, pooler.url)))
      let inside = 0
      const most: number[] = []
      await Promise.all(
        databases.map((database) =>
          database.exclusively('work', async () => {
            most.push((inside += 1))
            // Others use the processes meanwhile.
            await Promise.all(databases.map((other) => other.fetchVal('select pg_sleep(0.05)')))
            inside -= 1
          }),
        ),
      )
      expect(most).toEqual([1, 1, 1, 1])
    })

    it('runs transactions, streams and many rows', async () => {
      await using pooler = await start(context.url)
      const database = await context.open({}, pooler.url)
      await database.execute('create table rows_of_pooler (id integer primary key)')
      await database.executeMany(
        'insert into rows_of_pooler values (:id)',
        Array.from({ length: 3000 }, (_, id) => ({ id })),
      )
      let count = 0
      for await (const _ of database.iterate('select id from rows_of_pooler')) count += 1
      expect(count).toBe(3000)
      await database.transaction(async (tx) => {
        await tx.execute('delete from rows_of_pooler where id >= 10')
        await database.transaction(() => database.execute('delete from rows_of_pooler where id >= 5'))
      })
      expect(await database.fetchVal('select count(*)::int from rows_of_pooler')).toBe(5)
      await database.execute('drop table rows_of_pooler')
    })
  })

  /** Starts a server that refuses the first connections as PgBouncer does, and hands on the others. */
  async function startRefusing(
    times: number,
    message: string,
  ): Promise<AsyncDisposable & { readonly url: string }> {
    const target = new URL(context.url)
    const targetPort = Number(target.port)
    let left = times
    const server = createServer((socket) => {
      socket.on('error', () => undefined)
      if (left > 0) {
        left -= 1
        socket.once('data', () => socket.end(refusal(message)))
        return
      }
      const upstream = connect(targetPort, target.hostname)
      upstream.on('error', () => undefined)
      upstream.on('close', () => socket.destroy())
      socket.on('close', () => upstream.destroy())
      socket.pipe(upstream).pipe(socket)
    })
    const port = await freePort()
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
    target.port = String(port)
    return {
      url: target.href,
      async [Symbol.asyncDispose]() {
        server.close()
        await once(server, 'close')
      },
    }
  }

  function refusal(message: string): Buffer {
    const fields = `SFATAL\0VFATAL\0C08P01\0M${message}\0\0`
    const size = Buffer.alloc(4)
    size.writeInt32BE(4 + fields.length)
    return Buffer.concat([Buffer.from('E'), size, Buffer.from(fields)])
  }

  it.each([
    'server login has been failing, try again later (server_login_retry)',
    'pgbouncer cannot connect to server',
    'query_wait_timeout',
    'no more connections allowed (max_client_conn)',
  ])('whose server is away for a moment is asked again: %s', async (message) => {
    await using server = await startRefusing(2, message)
    const database = context.track(new Database(server.url))
    await database.connect()
    expect(await database.fetchVal('select 1')).toBe(1)
    await database.disconnect()
  })

  it.each(['no such database: shop', 'SASL authentication failed', 'unsupported startup parameter: options'])(
    'that knows better is not asked again: %s',
    async (message) => {
      await using server = await startRefusing(1000, message)
      const database = context.track(new Database(server.url))
      const error = await failure(database.connect())
      expect(error).toMatchObject({ name: 'ConnectionError', retryable: false })
      expect(error.message).toContain(message)
    },
  )

  it('or not, the name of the application is the same after settings were undone', async () => {
    const database = await context.open({ pool: { size: 1, maxOverflow: 0 } })
    const named = await context.open({ pool: { size: 1 } }, `${context.url}?application_name=shop`)
    for (const [one, name] of [
      [database, 'millpond'],
      [named, 'shop'],
    ] as const) {
      await one.connection(async (connection) => {
        await connection.execute("set application_name = 'other'")
      })
      const known = () => one.fetchVal("select current_setting('application_name')")
      expect(await known()).toBe(name)
      const pid = await one.fetchVal('select pg_backend_pid()')
      const seen = await context.admin(
        `select application_name as name from pg_stat_activity where pid = ${String(pid)}`,
      )
      expect(seen).toEqual([{ name }])
    }
  })

  it('that has no connection left for a ping is there as long as the pool is answered', async () => {
    await context.admin('create role crowded login connection limit 2')
    const url = new URL(context.url)
    url.username = 'crowded'
    const database = await context.open({ pool: { size: 2, maxOverflow: 0 } }, url.href)
    // Both connections: one idle, then none.
    await Promise.all([1, 2].map(() => database.fetchVal('select pg_sleep(0.05)')))
    await waitFor(() => database.stats().idle === 2)
    const refused = failure(context.open({}, url.href))
    expect((await refused).message).toContain('has no connection left')
    await database.ping()
    await using first = await database.acquire()
    await database.ping()
    await using second = await database.acquire()
    await Promise.all([first, second].map((connection) => connection.fetchVal('select 1')))
    await database.ping()
    await first.release()
    await second.release()
    await database.disconnect()
    await context.admin('drop role crowded')
  })
})
