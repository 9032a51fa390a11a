/** One connection per request: taken by the first query, given back when the answer is complete. */
import express, { type RequestHandler } from 'express'
import request from 'supertest'
import type { Connection, Database } from '../../src/database'
import { connectionPerRequest, problems, type Serving } from '../../src/express'
import { eachDatabase } from '../support/each-database'
import { waitFor } from '../support/wait-for'
import { deferred, serveQuietly } from './support'

eachDatabase('connectionPerRequest', (context) => {
  let database: Database
  let serving: Serving | undefined

  beforeEach(async () => {
    database = await context.open({ pool: { size: 1, maxOverflow: 0, acquireTimeoutMillis: 2000 } })
  })
  afterEach(async () => {
    await serving?.close()
    serving = undefined
  })

  async function serveHandler(handler: RequestHandler): Promise<string> {
    const app = express()
    app.all('/', connectionPerRequest(database), handler)
    app.use(problems({ onError: () => undefined }))
    serving = await serveQuietly(app)
    return serving.url
  }

  it('runs every query of the request on one connection, and gives it back clean', async () => {
    const url = await serveHandler(async (_request, response) => {
      await database.execute('create temporary table mine (id integer)')
      await database.execute('insert into mine values (1)')
      response.json(await database.fetchAll('select id from mine'))
    })
    await request(url)
      .get('/')
      .expect(200, [{ id: 1 }])
    await request(url)
      .get('/')
      .expect(200, [{ id: 1 }])
    await waitFor(() => database.stats().used === 0, { what: 'the connection to come back' })
  })

  it('takes no connection before the first query, and none for a handler that makes none', async () => {
    const url = await serveHandler((_request, response) => void response.json(database.stats().used))
    const { acquired } = database.stats()
    await request(url).get('/').expect(200, '0')
    expect(database.stats().acquired).toBe(acquired)
  })

  it('gives it back when the answer is complete, though the handler goes on', async () => {
    const going = deferred()
    let late: Promise<unknown> | undefined
    const url = await serveHandler(async (_request, response) => {
      await database.fetchVal('select 1')
      response.json('done')
      await going.promise
      late = database.fetchVal('select 1').catch((error: unknown) => error)
    })
    await request(url).get('/').expect(200)
    await waitFor(() => database.stats().used === 0, { what: 'the connection to come back' })
    expect(await database.fetchVal('select 2')).toBe(2)
    going.resolve()
    await waitFor(() => late !== undefined)
    expect(await late).toMatchObject({ code: 'TRANSACTION_CLOSED' })
  })

  it('gives it back when the handler throws, and when the client goes away', async () => {
    const url = await serveHandler(async ({ query }) => {
      await database.fetchVal('select 1')
      if (query['how'] === 'throw') throw new Error('no')
      await new Promise(() => undefined)
    })
    await request(url).get('/?how=throw').expect(500)
    await expect(request(url).get('/').timeout(200)).rejects.toThrow(/Timeout/)
    await waitFor(() => database.stats().used === 0, { what: 'the connection to come back' })
  })

  it('rolls back and reports what the handler has left open', async () => {
    const left: string[] = []
    database.on('cleanup', ({ what }) => left.push(what))
    const url = await serveHandler(async (_request, response) => {
      await database.begin()
      response.json('done')
    })
    await request(url).get('/').expect(200)
    await waitFor(() => database.stats().used === 0, { what: 'the connection to come back' })
    expect(left).toEqual(['an open transaction, which was rolled back'])
  })

  it('is that of a transaction around it', async () => {
    let seen: Connection | undefined
    const url = await serveHandler(async (_request, response) => {
      await database.transaction(async () => {
        await database.connection(async (connection) => {
          seen = connection
        })
      })
      response.json(database.stats().used)
    })
    await request(url).get('/').expect(200, '1')
    expect(seen).toBeDefined()
  })
})
