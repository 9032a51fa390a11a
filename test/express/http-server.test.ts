/** The server's own classes of requests and responses: invisible to handlers, without a change of prototype per request. */
import { IncomingMessage, ServerResponse } from 'node:http'
import express from 'express'
import helmet from 'helmet'
import request from 'supertest'
import { standingCheck } from '../support/standing-check'
import { deferred, serveQuietly } from './support'

standingCheck()

it("a server gives Express requests and responses with the application's prototypes already set", async () => {
  const app = express()
  const changes: object[] = []
  app.get('/', (_request, response) => {
    response.json({ ok: true })
  })
  await using serving = await serveQuietly(app)
  const original = Object.setPrototypeOf
  // Setting the prototype that is already there changes nothing, and costs nothing.
  Object.setPrototypeOf = (target: object, prototype: object | null) => {
    if (target instanceof IncomingMessage || target instanceof ServerResponse) {
      if (Object.getPrototypeOf(target) !== prototype) changes.push(target)
    }
    return original(target, prototype) as object
  }
  try {
    await request(serving.url).get('/').expect(200, { ok: true })
  } finally {
    Object.setPrototypeOf = original
  }
  expect(changes).toEqual([])
})

it('a server shows handlers, Routers and middleware the same properties as app.listen()', async () => {
  const app = express()
  app.request.greeting = 'hello'
  const seen = deferred<unknown[]>()
  const router = express.Router()
  router.get('/things/:id', (incoming, response) => {
    seen.resolve([
      incoming instanceof IncomingMessage,
      response instanceof ServerResponse,
      incoming.app === app,
      response.app === app,
      incoming.greeting,
      incoming.params['id'],
      incoming.query['q'],
      incoming.ip,
      incoming.get('Accept'),
    ])
    response.cookie('c', '1').status(201).json({ ok: true })
  })
  app.use(helmet(), express.json(), router)
  await using serving = await serveQuietly(app)
  const answer = await request(serving.url).get('/things/7?q=x').set('Accept', 'application/json').expect(201)
  expect(await seen.promise).toEqual([
    true,
    true,
    true,
    true,
    'hello',
    '7',
    'x',
    '127.0.0.1',
    'application/json',
  ])
  expect(answer.headers).toMatchObject({ 'x-content-type-options': 'nosniff', 'set-cookie': ['c=1; Path=/'] })
})

it('a server serves an application with a mounted sub-application', async () => {
  const sub = express()
  sub.get('/', (_request, response) => {
    response.json({ from: 'sub' })
  })
  const app = express()
  app.use('/sub', sub)
  app.get('/', (_request, response) => {
    response.json({ from: 'app' })
  })
  await using serving = await serveQuietly(app)
  await request(serving.url).get('/sub').expect(200, { from: 'sub' })
  await request(serving.url).get('/').expect(200, { from: 'app' })
})

it('a server can serve an application again, which can still call listen()', async () => {
  const app = express()
  app.get('/', (_request, response) => {
    response.json({ ok: true })
  })
  for (let times = 0; times < 3; times++) {
    await using serving = await serveQuietly(app)
    await request(serving.url).get('/').expect(200)
  }
  const prototypes: unknown[] = []
  for (let one: unknown = app.request; one !== null; one = Object.getPrototypeOf(one)) prototypes.push(one)
  expect(prototypes.length).toBeLessThan(9)
  await request(app).get('/').expect(200, { ok: true })
})

declare global {
  // Where Express' types let applications add properties to a request.
  namespace Express {
    interface Request {
      greeting?: string
    }
  }
}
