/** One transaction per request: ended before the answer leaves, and ended the way the answer says. */
import { once } from 'node:events'
import { type AddressInfo, connect } from 'node:net'
import express, { type RequestHandler } from 'express'
import request from 'supertest'
import type { Database } from '../../src/database'
import { problems, type Serving, transactionPerRequest } from '../../src/express'
import { eachDatabase } from '../support/each-database'
import { waitFor } from '../support/wait-for'
import { deferred, serveQuietly } from './support'

eachDatabase('transactionPerRequest', (context) => {
  let database: Database
  let serving: Serving | undefined
  let logged: unknown[]

  beforeEach(async () => {
    logged = []
    database = await context.open()
    await database.execute('create table notes (id integer primary key, body text not null)')
    await database.execute(
      'create table replies (note integer not null references notes (id) deferrable initially deferred)',
    )
  })
  afterEach(async () => {
    await serving?.close()
    serving = undefined
    await database.execute('drop table replies')
    await database.execute('drop table notes')
  })

  const note = (id: number): Promise<unknown> =>
    database.execute('insert into notes (id, body) values (:id, :body)', { id, body: 'a note' })
  const notes = (): Promise<unknown> => database.fetchVal('select count(*) from notes').then(Number)

  async function serveHandler(...handlers: RequestHandler[]): Promise<string> {
    const app = express()
    app.all('/', transactionPerRequest(database), ...handlers)
    app.use(problems({ onError: (error) => void logged.push(error) }))
    serving = await serveQuietly(app)
    return serving.url
  }

  it('commits before the answer leaves', async () => {
    const url = await serveHandler(async (_request, response) => {
      await note(1)
      response.status(201).set('X-Seen', 'yes').json({ ok: true })
    })
    const { body, headers } = await request(url).post('/').expect(201)
    expect(await context.admin('select id from notes')).toEqual([{ id: 1 }])
    expect(body).toEqual({ ok: true })
    expect(headers).toMatchObject({ 'x-seen': 'yes', 'content-length': '11' })
  })

  it('rolls back when the handler throws, and answers the error', async () => {
    const url = await serveHandler(async () => {
      await note(1)
      throw new Error('no')
    })
    await request(url).post('/').expect(500)
    expect(await notes()).toBe(0)
    expect(logged).toEqual([new Error('no')])
  })

  it('rolls back when the answer is 400 or more', async () => {
    const url = await serveHandler(async (_request, response) => {
      await note(1)
      response.status(409).json({ detail: 'taken' })
    })
    await request(url).post('/').expect(409, { detail: 'taken' })
    expect(await notes()).toBe(0)
  })

  it('answers the error of a COMMIT that fails, and nothing of the answer that was meant', async () => {
    const url = await serveHandler(async (_request, response) => {
      // The foreign key is checked at COMMIT.
      await database.execute('insert into replies (note) values (99)')
      response.status(201).set('Location', '/notes/99').json({ ok: true })
    })
    const { body, headers } = await request(url).post('/').expect(409)
    expect(body).toMatchObject({ status: 409 })
    expect(headers).not.toHaveProperty('location')
    expect(headers['content-type']).toContain('application/problem+json')
    expect(await notes()).toBe(0)
  })

  it('rolls back when the client goes away before the answer', async () => {
    const begun = deferred()
    const url = await serveHandler(async () => {
      await note(1)
      begun.resolve()
      await new Promise(() => {})
    })
    const socket = connect(Number(new URL(url).port), '127.0.0.1')
    socket.write('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n')
    await begun.promise
    socket.destroy()
    await waitFor(() => database.stats().used === 0)
    expect(await notes()).toBe(0)
    expect(logged).toEqual([])
  })

  it('keeps no connection for a client that went away before the transaction', async () => {
    const [arrived, gone, handled] = [deferred(), deferred(), deferred()]
    const app = express()
    app.post(
      '/',
      async (_request, response, next) => {
        response.once('close', gone.resolve)
        arrived.resolve()
        await gone.promise
        next()
      },
      transactionPerRequest(database),
      async () => {
        handled.resolve()
        await note(1)
        throw new Error('no')
      },
    )
    app.use(problems({ onError: (error) => void logged.push(error) }))
    // Without `serve` no scope refuses the query of a client that is gone.
    const server = app.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
    socket.write('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n')
    await arrived.promise
    socket.destroy()
    await handled.promise
    await waitFor(() => database.stats().used === 0)
    expect(await notes()).toBe(0)
    server.close()
    await once(server, 'close')
  })

  it('refuses a query that is made after the answer', async () => {
    const late = deferred<unknown>()
    const url = await serveHandler(async (_request, response) => {
      await note(1)
      response.json({ ok: true })
      await waitFor(() => database.stats().used === 0)
      await note(2).catch(late.resolve)
    })
    await request(url).post('/').expect(200)
    expect(await late.promise).toMatchObject({ code: 'TRANSACTION_CLOSED' })
    expect(await notes()).toBe(1)
  })

  it('keeps the first answer when a handler gives two', async () => {
    const url = await serveHandler(async (_request, response) => {
      await note(1)
      response.status(201).json({ answer: 1 })
      response.status(500).set('X-Second', 'yes').json({ answer: 2 })
    })
    const { headers } = await request(url).post('/').expect(201, { answer: 1 })
    expect(headers).not.toHaveProperty('x-second')
    expect(await notes()).toBe(1)
  })

  it('keeps the answer when the handler throws after it', async () => {
    const url = await serveHandler((_request, response) => {
      response.json({ ok: true })
      throw new Error('afterwards')
    })
    await request(url).post('/').expect(200, { ok: true })
    expect(logged).toEqual([new Error('afterwards')])
  })

  it('holds a body that is written in pieces', async () => {
    const url = await serveHandler(async (_request, response) => {
      await note(1)
      response.writeHead(202, 'Taken', { 'Content-Type': 'text/plain', 'X-Array': ['a', 'b'] })
      response.flushHeaders()
      response.write('one ')
      response.write(Buffer.from('two '))
      expect(response.writableEnded).toBe(false)
      response.end('three')
      expect(response.headersSent).toBe(true)
      expect(response.writableEnded).toBe(true)
    })
    const { text, headers } = await request(url).post('/').expect(202)
    expect(text).toBe('one two three')
    expect(headers).toMatchObject({ 'content-type': 'text/plain', 'x-array': 'a, b' })
    expect(await notes()).toBe(1)
  })

  it('answers 503 when there is no connection for the first query', async () => {
    await database.disconnect()
    const url = await serveHandler(async (_request, response) => {
      await note(1)
      response.sendStatus(201)
    })
    await request(url).post('/').expect(503)
    await database.connect()
  })

  it('takes no connection before the first query', async () => {
    const queried = deferred()
    const url = await serveHandler(async (_request, response) => {
      await queried.promise
      await note(1)
      response.json(database.holders().map(({ inTransaction }) => inTransaction))
    })
    const before = database.stats().acquired
    const answer = request(url).post('/').expect(200, [true])
    await waitFor(() => serving !== undefined)
    expect(database.stats()).toMatchObject({ used: 0, acquired: before })
    queried.resolve()
    await answer
    expect(await notes()).toBe(1)
    await request(url).get('/nowhere').expect(404)
  })

  it('takes none for a handler that makes no query', async () => {
    const url = await serveHandler((_request, response) => void response.json('nothing'))
    const { acquired } = database.stats()
    await request(url).get('/').expect(200)
    expect(database.stats().acquired).toBe(acquired)
  })

  it('refuses the first query of a handler whose answer is complete', async () => {
    let late: Promise<unknown> | undefined
    const url = await serveHandler((_request, response) => {
      response.json('done')
      late = new Promise((resolve) => setTimeout(resolve, 50))
        .then(() => note(1))
        .catch((error: unknown) => error)
    })
    await request(url).post('/').expect(200)
    expect(await late).toMatchObject({ code: 'TRANSACTION_CLOSED' })
    expect(await notes()).toBe(0)
  })

  it('has queries in parallel share the transaction that the first one begins', async () => {
    const url = await serveHandler(async (_request, response) => {
      await Promise.all([1, 2, 3, 4].map((id) => note(id)))
      response.status(418).json(database.stats().used)
    })
    await request(url).post('/').expect(418, '1')
    expect(await notes()).toBe(0)
  })

  it('answers 404 and rolls back when nobody answers', async () => {
    const url = await serveHandler(async (_request, _response, next) => {
      await note(1)
      next()
    })
    await request(url).post('/').expect(404)
    expect(await notes()).toBe(0)
  })

  it('keeps the transactions of requests apart', async () => {
    const url = await serveHandler(async (incoming, response) => {
      const id = Number(incoming.query['id'])
      await note(id)
      await note(id + 1000)
      response.status(id % 2 === 0 ? 200 : 400).end()
    })
    const ids = Array.from({ length: 20 }, (_, index) => index + 1)
    await Promise.all(ids.map((id) => request(url).post(`/?id=${id}`)))
    const kept = await database.fetchAll<{ id: number }>('select id from notes where id < 1000 order by id')
    expect(kept.map(({ id }) => id)).toEqual(ids.filter((id) => id % 2 === 0))
    expect(await notes()).toBe(20)
  })

  it('nests for several databases: each is committed, or both are rolled back', async () => {
    const url = await context.createDatabase()
    const second = await context.open({}, url)
    await second.execute('create table marks (id integer primary key)')
    const app = express()
    app.post(
      '/:status',
      transactionPerRequest(database),
      transactionPerRequest(second),
      async (incoming, response) => {
        const status = Number(incoming.params['status'])
        await note(status)
        await second.execute('insert into marks (id) values (:status)', { status })
        response.status(status).end()
      },
    )
    serving = await serveQuietly(app)
    await request(serving.url).post('/200').expect(200)
    await request(serving.url).post('/400').expect(400)
    expect(await database.fetchAll('select id from notes')).toEqual([{ id: 200 }])
    expect(await second.fetchAll('select id from marks')).toEqual([{ id: 200 }])
  })
})
