/** The scope of a request: its label, its signal and its deadline reach the queries made in it. */
import { once } from 'node:events'
import { connect } from 'node:net'
import express, { type Express, type RequestHandler } from 'express'
import request from 'supertest'
import type { Database } from '../../src/database'
import { problems, requestScope, type Serving } from '../../src/express'
import { eachDatabase } from '../support/each-database'
import { waitFor } from '../support/wait-for'
import { deferred, serveQuietly } from './support'

eachDatabase('the scope of a request', (context) => {
  let database: Database
  let serving: Serving | undefined

  beforeEach(async () => {
    database = await context.open({ pool: { size: 1, maxOverflow: 0 } })
  })
  afterEach(async () => {
    await serving?.close()
    serving = undefined
  })

  /** A handler that holds a connection until its gate opens, and reports its label meanwhile. */
  function holding(): { handler: RequestHandler; labels: () => (string | null)[]; release: () => void } {
    const gate = deferred()
    return {
      handler: async (_request, response) => {
        await database.connection(() => gate.promise)
        response.json({})
      },
      labels: () => database.holders().map(({ label }) => label),
      release: gate.resolve,
    }
  }

  it.each([
    ['/users/7?token=secret', 'GET /users/:id'],
    ['/api/things/7', 'GET /api/things/:id'],
  ])('is labelled with its route while it holds a connection: %s', async (path, label) => {
    const { handler, labels, release } = holding()
    const router = express.Router().get('/things/:id', handler)
    serving = await serveQuietly(express().get('/users/:id', handler).use('/api', router))
    const answer = request(serving.url).get(path).expect(200)
    const sent = answer.then(() => {})
    await waitFor(() => labels().length === 1)
    expect(labels()).toEqual([label])
    release()
    await sent
  })

  it('is labelled with its path in middleware that runs before the route is known', async () => {
    const { handler, labels, release } = holding()
    serving = await serveQuietly(express().use(handler))
    const sent = request(serving.url)
      .get('/some/where?token=secret')
      .then(() => {})
    await waitFor(() => labels().length === 1)
    expect(labels()).toEqual(['GET /some/where'])
    release()
    await sent
  })

  it('exists once when serve() and the middleware both open one', async () => {
    const { handler, labels, release } = holding()
    const app = express().use(requestScope({ timeoutMillis: 1 }))
    serving = await serveQuietly(app.get('/', handler))
    const sent = request(serving.url)
      .get('/')
      .expect(200)
      .then(() => {})
    await waitFor(() => labels().length === 1)
    expect(labels()).toEqual(['GET /'])
    release()
    await sent
  })

  it('is kept behind a body parser', async () => {
    const { handler, labels, release } = holding()
    serving = await serveQuietly(express().use(express.json()).post('/things', handler))
    const sent = request(serving.url)
      .post('/things')
      .send({ a: 1 })
      .then(() => {})
    await waitFor(() => labels().length === 1)
    expect(labels()).toEqual(['POST /things'])
    release()
    await sent
  })

  it('is not shared with concurrent requests', async () => {
    const seen: (string | null)[] = []
    const app = express()
    app.get('/:name', async (_request, response) => {
      await database.connection(async () => {
        await database.fetchVal('select 1')
        seen.push(...database.holders().map(({ label }) => label))
      })
      response.json({})
    })
    app.post('/:name', async (_request, response) => {
      await database.connection(async () => {
        seen.push(...database.holders().map(({ label }) => label))
      })
      response.json({})
    })
    serving = await serveQuietly(app)
    const { url } = serving
    await Promise.all([1, 2, 3].flatMap((n) => [request(url).get(`/${n}`), request(url).post(`/${n}`)]))
    expect(seen.filter((label) => label === 'GET /:name')).toHaveLength(3)
    expect(seen.filter((label) => label === 'POST /:name')).toHaveLength(3)
  })

  describe.each([
    ['under serve', (app: Express) => app],
    ['with requestScope()', (app: Express) => express().use(requestScope(), app)],
  ])('%s', (_name, wrap) => {
    it('removes its query from the acquire queue when the client disconnects', async () => {
      const failed = deferred<unknown>()
      const app = express()
      app.get('/', async (_request, response) => {
        await database.fetchVal('select 1').catch(failed.resolve)
        response.json({})
      })
      serving = await serveQuietly(wrap(app))
      const held = await database.acquire()
      const socket = connect(serving.port, '127.0.0.1')
      socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
      await waitFor(() => database.stats().waiting === 1)
      socket.destroy()
      expect(await failed.promise).toMatchObject({ code: 'QUERY_CANCELED' })
      expect(database.stats().waiting).toBe(0)
      await held.release()
    })
  })

  it('is aborted when the client disconnects, also while its response waits behind a pipelined one', async () => {
    const failed = deferred<unknown>()
    const never = deferred()
    const app = express()
    app.get('/first', async (_request, response) => {
      await never.promise
      response.json({})
    })
    app.get('/second', async () => {
      await database.fetchVal('select 1').catch(failed.resolve)
    })
    serving = await serveQuietly(app)
    const held = await database.acquire()
    const socket = connect(serving.port, '127.0.0.1')
    socket.write('GET /first HTTP/1.1\r\nHost: x\r\n\r\nGET /second HTTP/1.1\r\nHost: x\r\n\r\n')
    await waitFor(() => database.stats().waiting === 1)
    socket.destroy()
    expect(await failed.promise).toMatchObject({ code: 'QUERY_CANCELED' })
    never.resolve()
    await held.release()
  })

  it('does not cancel queries that began after the response', async () => {
    const later = deferred<unknown>()
    const app = express()
    app.get('/', (incoming, response) => {
      response.end()
      incoming.socket.once('close', () => {
        void database.fetchVal('select 1').then(later.resolve, later.reject)
      })
    })
    serving = await serveQuietly(app)
    const socket = connect(serving.port, '127.0.0.1')
    socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
    await once(socket, 'data')
    socket.destroy()
    expect(await later.promise).toBe(1)
  })

  it('cancels a query at the deadline of the request', async () => {
    const app = express()
    app.get('/', async (_request, response) => {
      response.json(await database.fetchVal('select 1'))
    })
    app.use(problems({ onError: () => {} }))
    serving = await serveQuietly(app, { requestTimeoutMillis: 50 })
    const held = await database.acquire()
    const { statusCode } = await request(serving.url).get('/')
    expect([503, 504]).toContain(statusCode)
    await held.release()
  })
})
