/** Requests whose client has gone or whose deadline is over, while the handler waits for something that never happens. */
import { connect } from 'node:net'
import express, { type RequestHandler } from 'express'
import type { Database } from '../../src/database'
import { connectionPerRequest, problems, requestScope, transactionPerRequest } from '../../src/express'
import { eachDatabase } from '../support/each-database'
import { startHttp } from '../support/http-server'
import { waitFor } from '../support/wait-for'
import { deferred, serveQuietly } from './support'

const POST = 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n'

eachDatabase('an abandoned request', (context) => {
  let database: Database
  let hangs: ReturnType<typeof deferred<void>>
  let goOn: ReturnType<typeof deferred<void>>

  beforeEach(async () => {
    database = await context.open({ pool: { size: 2, maxOverflow: 0 } })
    await database.execute('create table stock (n integer not null)')
    await database.execute('insert into stock values (1)')
    hangs = deferred()
    goOn = deferred()
  })
  afterEach(() => database.execute('drop table stock'))

  const take = (on: Pick<Database, 'execute'> = database): Promise<unknown> =>
    on.execute('update stock set n = n + 10')
  /** Waits for something other than a database. */
  const hang = async (): Promise<void> => {
    hangs.resolve()
    await goOn.promise
  }

  /** Handlers that hang, and what each does afterwards. */
  const handlers: Record<string, () => readonly RequestHandler[]> = {
    'opens a transaction': () => [
      () =>
        database.transaction(async () => {
          await take()
          await hang()
          await take()
        }),
    ],
    'runs in a transaction': () => [
      transactionPerRequest(database),
      async () => {
        await take()
        await hang()
        await take()
      },
    ],
    'runs in a transaction that has not begun': () => [
      transactionPerRequest(database),
      async () => {
        await hang()
        await take()
      },
    ],
    'runs on a connection': () => [
      connectionPerRequest(database),
      async () => {
        await take(await database.begin())
        await hang()
        await take()
      },
    ],
    'has a transaction by hand': () => [
      async () => {
        const tx = await database.begin()
        await take(tx)
        await hang()
        await tx.commit()
      },
    ],
    'has a connection by hand': () => [
      async () => {
        const connection = await database.acquire()
        await take(await connection.begin())
        await hang()
        await take(connection)
      },
    ],
    'reads a stream': () => [
      async () => {
        for await (const row of database.iterate('select n from stock')) {
          expect(row).toEqual({ n: 1 })
          await hang()
        }
      },
    ],
  }

  const ends = [
    'its client disconnects',
    'its client disconnects, without serve',
    'its deadline is over',
  ] as const

  describe.each(Object.entries(handlers))('whose handler %s', (_name, make) => {
    it.each(ends)('releases its connection and its locks when %s', async (how) => {
      const failed = deferred<unknown>()
      const left = deferred()
      const app = express().use((_request, response, next) => {
        response.once('close', left.resolve)
        next()
      })
      app.post('/', ...make())
      app.use((error: unknown, _request: unknown, _response: unknown, next: (error: unknown) => void) => {
        failed.resolve(error)
        next(error)
      })
      const logged: unknown[] = []
      app.use(problems({ onError: (error) => logged.push(error) }))
      const isLate = how === 'its deadline is over'
      await using server = how.endsWith('without serve')
        ? await startHttp(express().use(requestScope(), app))
        : await serveQuietly(app, isLate ? { requestTimeoutMillis: 100 } : {})
      const socket = connect(Number(new URL(server.url).port), '127.0.0.1')
      socket.on('error', () => undefined).write(POST)
      // On a busy machine the deadline may be over before that.
      await Promise.race([hangs.promise, failed.promise])
      const began = performance.now()
      if (!isLate) {
        socket.destroy()
        await left.promise
      }
      await waitFor(() => database.stats().used === 0, { what: 'the connection to be released' })
      // No lock is left that another writer would wait for.
      await database.execute('update stock set n = n + 1', {}, { timeoutMillis: 2000 })
      if (isLate) await waitFor(() => performance.now() > began + 100, { what: 'the deadline' })
      goOn.resolve()
      const error = await failed.promise
      expect(error).toMatchObject({ code: isLate ? 'QUERY_TIMEOUT' : 'QUERY_CANCELED' })
      expect(await database.fetchVal('select n from stock')).toBe(2)
      // A client that disconnects is no error for the log.
      expect(isLate ? [] : logged).toEqual([])
      socket.destroy()
    })
  })
})
