/** Responses under transactionPerRequest: the same as without it, but sent after the commit. */
import { createReadStream } from 'node:fs'
import { Agent } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import compression from 'compression'
import express, { type ErrorRequestHandler, type Express, type RequestHandler, type Response } from 'express'
import request from 'supertest'
import type { Database } from '../../src/database'
import { problems, type Serving, transactionPerRequest } from '../../src/express'
import { eachDatabase } from '../support/each-database'
import { serveQuietly } from './support'

const LONG = 'x'.repeat(70_000)

const WAYS: Readonly<Record<string, (response: Response) => unknown>> = {
  json: (response) => response.json({ ok: true }),
  send: (response) => response.status(201).set('Location', '/notes/1').send('made'),
  redirect: (response) => response.redirect(303, '/elsewhere'),
  sendStatus: (response) => response.sendStatus(204),
  'a fresh ETag': (response) => response.set('ETag', '"known"').json({ ok: true }),
  sendFile: (response) => response.sendFile(__filename),
  download: (response) => response.download(__filename, 'notes.txt'),
  'write and end': (response) => {
    response.write('one ')
    response.write(Buffer.from('two '))
    response.end('three')
  },
  'write, each after the other was written': async (response) => {
    for (const piece of ['one ', 'two ']) {
      await new Promise<unknown>((resolve) => response.write(piece, resolve))
    }
    await new Promise<unknown>((resolve) => response.write('746872c3a965', 'hex', resolve))
    response.end()
  },
  'a buffer that is used again': async (response) => {
    const buffer = Buffer.alloc(4)
    for (const piece of ['one ', 'two ']) {
      buffer.write(piece)
      await new Promise<unknown>((resolve) => response.write(buffer, resolve))
    }
    response.end('!')
  },
  flushHeaders: (response) => {
    response.set('X-Early', 'yes').flushHeaders()
    response.end('body')
  },
  'writeHead with an object': (response) => {
    response.writeHead(202, 'Taken', { 'Content-Type': 'text/plain', 'X-Array': ['a', 'b'] }).end('body')
  },
  'writeHead with a list': (response) => {
    response.set('X-Old', 'old')
    response.writeHead(200, ['Set-Cookie', 'a=1', 'X-Old', 'new'] as never).end('body')
  },
  pipe: (response) => Readable.from([LONG, 'end']).pipe(response),
  pipeline: async (response) => {
    await pipeline(createReadStream(__filename), response)
  },
  cookies: (response) => response.cookie('a', '1').cookie('b', '2').end(),
}

const NAMES = Object.keys(WAYS)
const OF_THE_ANSWERS = ['location', 'set-cookie', 'x-early', 'x-array', 'x-old', 'content-disposition']
const FRESH = { 'If-None-Match': '"known"' }
/** Headers that Express sets on send() and node:http on the first byte; chunked responses have no length. */
const VARYING = ['date', 'keep-alive', 'connection', 'transfer-encoding', 'content-length']

eachDatabase('a response under transactionPerRequest', (context) => {
  let database: Database

  beforeEach(async () => {
    database = await context.open({ pool: { size: 3 } })
    await database.execute('create table notes (id integer primary key)')
    await database.execute(
      'create table replies (note integer not null references notes (id) deferrable initially deferred)',
    )
  })
  afterEach(async () => {
    await database.execute('drop table replies')
    await database.execute('drop table notes')
  })

  const count = (): Promise<number> => database.fetchVal('select count(*) from notes').then(Number)
  const insert = (): Promise<unknown> => database.execute('insert into notes (id) select count(*) from notes')
  /** The foreign key is checked at COMMIT. */
  const spoil = (): Promise<unknown> => database.execute('insert into replies (note) values (99)')

  /** `usedAtHead` holds the number of connections in use at the time of each response head. */
  function answering(first: () => Promise<unknown>, usedAtHead: number[] = []): Express {
    const app = express()
    app.use((_request, response, next) => {
      const writeHead = response.writeHead.bind(response) as (...args: unknown[]) => Response
      response.writeHead = ((...args: unknown[]) => {
        usedAtHead.push(database.stats().used)
        return writeHead(...args)
      }) as Response['writeHead']
      next()
    })
    const add = (path: string, ...handlers: RequestHandler[]): void => {
      for (const [number, way] of Object.values(WAYS).entries()) {
        app.all(`/${path}/${number}`, ...handlers, async (_request, response) => {
          await first()
          await way(response)
        })
      }
    }
    add('with', transactionPerRequest(database))
    add('without')
    add('compressed-around', compression({ threshold: 0 }), transactionPerRequest(database))
    add('compressed-inside', transactionPerRequest(database), compression({ threshold: 0 }))
    app.use(problems({ onError: () => {} }))
    return app
  }

  interface Seen {
    readonly name: string
    readonly status: number
    readonly message: string
    readonly text: string
    readonly headers: Record<string, string>
  }

  async function ask(url: string, method: 'get' | 'head', path: string, name: string): Promise<Seen> {
    const asked = request(url)
    const address = `/${path}/${NAMES.indexOf(name)}`
    const answer = await (method === 'get' ? asked.get(address) : asked.head(address))
      .redirects(0)
      .set(name === 'a fresh ETag' ? FRESH : {})
      .buffer(true)
    const { status, text, headers } = answer as { status: number; text: string; headers: Seen['headers'] }
    const kept = Object.entries(headers).filter(([header]) => !VARYING.includes(header))
    const message = (answer as unknown as { res: { statusMessage: string } }).res.statusMessage
    return { name, status, message, text, headers: Object.fromEntries(kept) }
  }

  it('equals that without it, and is sent after the commit, with the connection released', async () => {
    const usedAtHead: number[] = []
    await using serving = await serveQuietly(answering(insert, usedAtHead))
    for (const name of NAMES) {
      for (const method of ['get', 'head'] as const) {
        const before = await count()
        usedAtHead.length = 0
        const held = await ask(serving.url, method, 'with', name)
        expect({ name, usedAtHead, committed: (await count()) - before }).toEqual({
          name,
          usedAtHead: [0],
          committed: 1,
        })
        expect(held).toEqual(await ask(serving.url, method, 'without', name))
      }
    }
  })

  it('is the error of a failed COMMIT, without any part of the intended response', async () => {
    await using serving = await serveQuietly(answering(spoil))
    for (const name of NAMES) {
      const isCalledBack = name.startsWith('write, each') || name.startsWith('a buffer')
      const inside = isCalledBack ? [] : ['compressed-inside']
      for (const path of ['with', 'compressed-around', ...inside]) {
        const { status, message, text, headers } = await ask(serving.url, 'get', path, name)
        const problem = JSON.parse(text) as { status: number }
        const said = OF_THE_ANSWERS.filter((header) => header in headers)
        expect({ name, status, message, of: problem.status, said }).toEqual({
          name,
          status: 409,
          message: 'Conflict',
          of: 409,
          said: [],
        })
      }
    }
    expect(await database.fetchVal('select count(*) from replies').then(Number)).toBe(0)
  })

  it('is compressed by compression() in front of it and behind it', async () => {
    await using serving = await serveQuietly(answering(insert))
    // compression() does not call back when a chunk was written.
    const known = NAMES.filter((name) => !name.startsWith('write, each') && !name.startsWith('a buffer'))
    for (const name of known) {
      const plain = await ask(serving.url, 'get', 'without', name)
      for (const path of ['compressed-around', 'compressed-inside']) {
        const { status, text } = await ask(serving.url, 'get', path, name)
        expect({ name, status, text }).toEqual({ name, status: plain.status, text: plain.text })
      }
    }
    expect(await count()).toBe(3 * known.length)
  })

  it.each<[string, (response: Response) => unknown]>([
    ['a status that there is not', (response) => void Object.assign(response, { statusCode: 99 }).end()],
    ['writeHead of such a status', (response) => response.writeHead(1000).end()],
    ['a line break in the message', (response) => response.writeHead(200, 'a\nb').end()],
    ['a piece that is neither text nor bytes', (response) => response.write(5)],
    ['such an end', (response) => response.end({ ok: true } as never)],
    ['a stream that breaks off', (response) => pipeline(Readable.from(broken()), response)],
  ])('that cannot be sent rolls back: %s', async (_name, way) => {
    const app = express()
    app.get('/', transactionPerRequest(database), async (_request, response) => {
      await insert()
      await way(response)
    })
    app.use(problems({ onError: () => {} }))
    await using serving = await serveQuietly(app)
    const status = await request(serving.url)
      .get('/')
      .then((answer) => answer.status, String)
    // A pipeline destroys its destination.
    expect([500, 'Error: socket hang up']).toContain(status)
    expect(await count()).toBe(0)
  })

  async function serveOne(
    handler: RequestHandler,
    ...after: (RequestHandler | ErrorRequestHandler)[]
  ): Promise<Serving> {
    const app = express().set('env', 'test')
    app.get('/:status', transactionPerRequest(database), handler)
    for (const one of after) app.use(one)
    return serveQuietly(app)
  }

  it('keeps several headers of one name that are passed to writeHead() as a list', async () => {
    await using serving = await serveOne((_request, response) => {
      response.writeHead(200, ['Set-Cookie', 'a=1', 'X-One', '1', 'Set-Cookie', 'b=2'] as never).end()
    })
    const { headers } = await request(serving.url).get('/1').expect(200)
    expect(headers).toMatchObject({ 'set-cookie': ['a=1', 'b=2'], 'x-one': '1' })
  })

  it('may set its status late', async () => {
    await using serving = await serveOne(async ({ params }, response) => {
      await insert()
      response.write('one ')
      response.status(Number(params['status'])).end('two')
    })
    await request(serving.url).get('/409').expect(409, 'one two')
    expect(await count()).toBe(0)
    await request(serving.url).get('/202').expect(202, 'one two')
    expect(await count()).toBe(1)
  })

  it('rolls back by the status that an error handler sends', async () => {
    const handled: ErrorRequestHandler = (_error, { path }, response, _next) => {
      response.status(Number(path.slice(1))).end()
    }
    await using serving = await serveOne(async () => {
      await insert()
      throw new Error('no')
    }, handled)
    await request(serving.url).get('/400').expect(400)
    expect(await count()).toBe(0)
    await request(serving.url).get('/200').expect(200)
    expect(await count()).toBe(1)
  })

  it('is replaced as a whole by that of an error, when it was half written', async () => {
    const half: RequestHandler = async (_request, response) => {
      await insert()
      response.status(206).set({ 'X-Half': 'yes', 'Content-Length': '100' }).write('half ')
      throw new Error('no')
    }
    await using serving = await serveOne(half, problems({ onError: () => {} }))
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    // On one connection, surplus bytes of one response would be read as the next one.
    for (let times = 0; times < 3; times += 1) {
      const { body, headers } = await request(serving.url).get('/1').agent(agent).expect(500)
      expect(body).toMatchObject({ status: 500 })
      expect(headers).not.toHaveProperty('x-half')
    }
    agent.destroy()
    expect(await count()).toBe(0)
  })

  it('is aborted by Express when it was half written and the error has no handler', async () => {
    await using serving = await serveOne(async (_request, response) => {
      await insert()
      response.write('half ')
      throw new Error('no')
    })
    await expect(request(serving.url).get('/1')).rejects.toThrow('socket hang up')
    expect(await count()).toBe(0)
  })
})

async function* broken(): AsyncGenerator<string> {
  yield 'half'
  await delay(1)
  throw new Error('broken')
}
