/** Express middleware from npm works under the server's own classes, without a change of prototype per request. */
import { once } from 'node:events'
import { IncomingMessage, ServerResponse } from 'node:http'
import busboy from 'busboy'
import compression from 'compression'
import express, { type Express, type RequestHandler } from 'express'
import helmet from 'helmet'
import request from 'supertest'
import { problems, requestScope } from '../../src/express'
import { standingCheck } from '../support/standing-check'
import { serveQuietly } from './support'

standingCheck()

/** Counts changes of the prototype of a request or a response during `work`. */
async function changesDuring(work: () => Promise<unknown>): Promise<number> {
  const original = Object.setPrototypeOf
  let changes = 0
  Object.setPrototypeOf = (target: object, prototype: object | null) => {
    const isOurs = target instanceof IncomingMessage || target instanceof ServerResponse
    if (isOurs && Object.getPrototypeOf(target) !== prototype) changes += 1
    return original(target, prototype) as object
  }
  try {
    await work()
  } finally {
    Object.setPrototypeOf = original
  }
  return changes
}

/** Reads a form with files into `request.body`, as multer does. */
const multipart: RequestHandler = (incoming, _response, next) => {
  const reader = busboy({ headers: incoming.headers })
  const body: Record<string, unknown> = {}
  reader.on('field', (name, value) => (body[name] = value))
  reader.on('file', (name, file, { filename }) => {
    let size = 0
    file.on('data', (piece: Buffer) => (size += piece.length))
    file.on('end', () => (body[name] = { filename, size }))
  })
  reader.on('error', next)
  reader.on('close', () => {
    incoming.body = body
    next()
  })
  incoming.pipe(reader)
}

const LONG = { text: 'a mill by a pond, '.repeat(1000) }

/** An application with all of them, whose responses must be the same under every server. */
function manyThings(): Express {
  const app = express()
  app.set('trust proxy', true)
  app.use(requestScope(), helmet(), compression(), express.json({ limit: '10kb' }))
  app.use(express.urlencoded({ extended: false }))
  const router = express.Router({ mergeParams: true })
  router.param('id', (incoming, _response, next, id: string) => {
    incoming.things = [`param ${id}`]
    next()
  })
  router
    .route('/:id')
    .get((incoming, response) => {
      const { params, query, ip, protocol, hostname, baseUrl, originalUrl, path, things, xhr, secure } =
        incoming
      response.location('/there').cookie('c', '1', { httpOnly: true }).append('X-One', ['1', '2'])
      response.json({
        seen: { params, query, ip, protocol, hostname, baseUrl, originalUrl, path, things, xhr, secure },
        accepts: incoming.accepts('html', 'json'),
        is: incoming.is('json'),
        fresh: incoming.fresh,
        own: Object.hasOwn(incoming, 'app'),
        app: incoming.app === app && response.app === app && incoming.res === response,
      })
    })
    .post(({ body }, response) => {
      response.status(201).json(body)
    })
  app.use('/places/:place/things', router)
  app.get('/long', (_request, response) => {
    response.json(LONG)
  })
  app.post('/form', multipart, ({ body }, response) => {
    response.json(body)
  })
  app.get('/redirect', (_request, response) => {
    response.redirect('/long')
  })
  app.get('/text', (_request, response) => {
    response.format({ text: () => void response.send('plain'), html: () => void response.send('<p>') })
  })
  app.get('/file', (_request, response) => {
    response.sendFile(__filename)
  })
  app.use(problems({ onError: () => {} }))
  return app
}

interface Seen {
  readonly status: number
  readonly headers: Record<string, string>
  readonly body: unknown
}

/** Headers that differ from response to response. */
const VARYING = ['date', 'keep-alive', 'connection']

async function everything(url: string): Promise<Seen[]> {
  const ask = request(url)
  const answers = [
    await ask
      .get('/places/pond/things/7?q=x&q=y')
      .set({ Accept: 'application/json', 'X-Forwarded-For': '203.0.113.7', 'X-Forwarded-Proto': 'https' })
      .set('Host', 'example.org'),
    await ask.post('/places/pond/things/7').send({ a: [1, 2] }),
    await ask.post('/places/pond/things/7').type('form').send('a=1&b=2'),
    await ask.post('/places/pond/things/7').type('json').send('{"a":'),
    await ask.post('/places/pond/things/7').send(LONG),
    await ask.post('/form').field('name', 'Ada').attach('file', Buffer.alloc(100_000), 'a.bin'),
    await ask.get('/long'),
    await ask.get('/redirect').redirects(0),
    await ask.get('/text').set('Accept', 'text/plain'),
    await ask.get('/file').set('Range', 'bytes=0-9'),
    await ask.head('/long'),
    await ask.get('/nowhere'),
  ]
  return answers.map(({ status, headers, body }) => ({
    status,
    headers: Object.fromEntries(
      Object.entries(headers as Record<string, string>).filter(([name]) => !VARYING.includes(name)),
    ),
    body: body as unknown,
  }))
}

it('third-party middleware sees the same as under app.listen()', async () => {
  const listening = manyThings().listen(0, '127.0.0.1')
  await once(listening, 'listening')
  const { port } = listening.address() as { port: number }
  const expected = await everything(`http://127.0.0.1:${port}`)
  listening.close()
  listening.closeAllConnections()
  expect(expected.map(({ status }) => status)).toEqual([
    200, 201, 201, 400, 413, 200, 200, 302, 200, 206, 200, 404,
  ])
  expect(expected[5]?.body).toEqual({ name: 'Ada', file: { filename: 'a.bin', size: 100_000 } })

  await using serving = await serveQuietly(manyThings())
  let seen: Seen[] = []
  const changes = await changesDuring(async () => (seen = await everything(serving.url)))
  expect(seen).toEqual(expected)
  expect(changes).toBe(0)
})

it('third-party middleware compresses the same as under app.listen()', async () => {
  await using serving = await serveQuietly(manyThings())
  const answer = await fetch(`${serving.url}/long`, { headers: { 'Accept-Encoding': 'gzip' } })
  expect(answer.headers.get('content-encoding')).toBe('gzip')
  expect(await answer.json()).toEqual(LONG)
})

it('a server changes no prototype over a thousand requests, on kept and on new connections', async () => {
  await using serving = await serveQuietly(manyThings())
  const changes = await changesDuring(async () => {
    for (let round = 0; round < 20; round += 1) {
      const asked = Array.from({ length: 50 }, (_, n) =>
        fetch(`${serving.url}/places/pond/things/${n}`, {
          headers: n % 2 === 0 ? { Connection: 'close' } : {},
        }).then((answer) => answer.json()),
      )
      await Promise.all(asked)
    }
  })
  expect(changes).toBe(0)
})

it('a mounted sub-application gets its own request and response, and its owner gets the former back', async () => {
  const sub = express()
  sub.request.things = ['of the sub']
  const seen: unknown[] = []
  sub.use((incoming, response, next) => {
    seen.push(['sub', incoming.app === sub, response.app === sub, incoming.things, incoming.baseUrl])
    next()
  })
  const app = express()
  app.request.things = ['of the app']
  app.use('/sub', sub)
  app.use((incoming, response) => {
    seen.push(['app', incoming.app === app, response.app === app, incoming.things, incoming.baseUrl])
    response.json(seen)
  })
  await using serving = await serveQuietly(app)
  await request(serving.url).get('/sub/x').expect(200)
  expect(seen).toEqual([
    ['sub', true, true, ['of the sub'], '/sub'],
    ['app', true, true, ['of the app'], ''],
  ])
})

it('an application can be served, listened to and mounted in another one at the same time', async () => {
  const app = express()
  app.get('/', (incoming, response) => {
    response.json({ app: incoming.app === app, things: incoming.things ?? null })
  })
  const other = express().use('/mounted', app)
  await using serving = await serveQuietly(app)
  await using outer = await serveQuietly(other)
  // Middleware that is added later runs as well.
  app.request.things = ['later']
  const owners = app.listen(0, '127.0.0.1')
  await once(owners, 'listening')
  const { port } = owners.address() as { port: number }
  for (const url of [serving.url, `http://127.0.0.1:${port}`, `${outer.url}/mounted`]) {
    await request(url)
      .get('/')
      .expect(200, { app: true, things: ['later'] })
  }
  owners.close()
  owners.closeAllConnections()
})

declare global {
  // Where Express' types let applications add properties to a request.
  namespace Express {
    interface Request {
      things?: string[]
    }
  }
}
