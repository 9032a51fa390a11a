/** Listeners of a request, its response and its socket: each runs in the scope in which it was added. */
import { request as httpRequest } from 'node:http'
import { finished } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import busboy from 'busboy'
import compression from 'compression'
import express, { type Express, type Request, type RequestHandler, type Response } from 'express'
import type { Database } from '../../src/database'
import { connectionPerRequest, requestScope, type Serving, transactionPerRequest } from '../../src/express'
import { eachDatabase } from '../support/each-database'
import { startHttp } from '../support/http-server'
import { waitFor } from '../support/wait-for'
import { serveQuietly } from './support'
import { Wire } from './wire'

const BODY = `--x\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n${'z'.repeat(200_000)}\r\n--x--\r\n`

/** Body parsers that continue on an event of the request, by their ways of waiting for it. */
const parsers: Readonly<Record<string, RequestHandler>> = {
  end: (incoming, _response, next) => {
    incoming.on('data', () => {}).on('end', () => next())
  },
  'end, listened to once': (incoming, _response, next) => {
    incoming.resume().once('end', () => next())
  },
  close: (incoming, _response, next) => {
    incoming.resume().prependOnceListener('close', () => next())
  },
  readable: (incoming, _response, next) => {
    incoming.addListener('readable', () => {
      if (incoming.read() === null && incoming.complete) next()
    })
  },
  'the end of a stream': (incoming, _response, next) => {
    finished(incoming.resume(), () => next())
  },
  'busboy, which multer and express-fileupload are made of': (incoming, _response, next) => {
    const parser = busboy({ headers: incoming.headers })
    parser.on('file', (_name, file) => file.resume()).on('close', () => next())
    incoming.pipe(parser)
  },
}

eachDatabase('event listeners of a request', (context) => {
  let database: Database
  let serving: Serving | undefined
  /** The labels of INSERT statements, in order. */
  let labels: (string | null)[]

  beforeEach(async () => {
    database = await context.open({ pool: { size: 3, maxOverflow: 0 } })
    await database.execute('create table log (what text not null)')
    labels = []
    database.on('query', ({ sql, label }) => {
      if (sql.startsWith('insert')) labels.push(label)
    })
  })
  afterEach(async () => {
    await serving?.close()
    serving = undefined
    await database.execute('drop table log')
  })

  const write = (what: string): Promise<unknown> =>
    database.execute('insert into log (what) values (:what)', { what })
  const written = (): Promise<string[]> => database.table('log').orderBy('what').pluck('what')

  /** Posts a body whose end arrives after the handlers have begun to read it. */
  const post = (url: string, path: string): Promise<number | undefined> =>
    new Promise((resolve, reject) => {
      const headers = { 'content-type': 'multipart/form-data; boundary=x' }
      const sent = httpRequest(url + path, { method: 'POST', agent: false, headers }, (answer) => {
        answer.resume().on('end', () => resolve(answer.statusCode))
      })
      sent.on('error', reject).write(BODY.slice(0, 100))
      setTimeout(() => sent.end(BODY.slice(100)), 20)
    })

  /** Writes two rows, and answers with a status that rolls them back. */
  const refuse: RequestHandler = async (_request, response) => {
    await write('one')
    const inTransaction = database.holders().some((holder) => holder.inTransaction)
    await write('two')
    response.status(inTransaction ? 422 : 500).json({})
  }

  describe.each(Object.entries(parsers))(
    'keep what comes after a parser that waits for %s',
    (_name, parse) => {
      const open: Record<string, (app: Express) => Promise<{ url: string } & AsyncDisposable>> = {
        'under serve': (app) => serveQuietly(app),
        'with requestScope()': (app) => startHttp(express().use(requestScope(), app)),
      }

      it.each(Object.entries(open))('run in the transaction of the request, %s', async (_how, start) => {
        const app = express().use(compression({ threshold: 0 }))
        app.post('/orders/:id', transactionPerRequest(database), parse, refuse)
        await using server = await start(app)
        expect(await post(server.url, '/orders/1')).toBe(422)
        expect(await written()).toEqual([])
        expect(labels).toEqual(['POST /orders/:id', 'POST /orders/:id'])
      })

      it('run in the transaction of the request, without a scope', async () => {
        await using server = await startHttp(
          express().post('/orders', transactionPerRequest(database), parse, refuse),
        )
        expect(await post(server.url, '/orders')).toBe(422)
        expect(await written()).toEqual([])
      })

      it("run in a transaction that the application's middleware has begun", async () => {
        const app = express().use(async (_request, response, next) => {
          const ended = new Promise((resolve) => response.once('close', resolve))
          await database.transaction(async (tx) => {
            next()
            await ended
            await tx.rollback()
          })
        })
        serving = await serveQuietly(app.post('/orders', parse, refuse))
        expect(await post(serving.url, '/orders')).toBe(422)
        await waitFor(() => database.stats().used === 0)
        expect(await written()).toEqual([])
      })

      it('run on the connection of the request', async () => {
        const app = express().post('/', connectionPerRequest(database), parse, async (_request, response) => {
          await database.execute('create temporary table mine (id integer)')
          response.json(await database.fetchAll('select id from mine'))
        })
        serving = await serveQuietly(app)
        expect(await post(serving.url, '/')).toBe(200)
      })
    },
  )

  it('are cancelled when the client disconnects, and at the deadline of the request', async () => {
    const failures: unknown[] = []
    const app = express().post('/', parsers['end'] as RequestHandler, (_request, response) => {
      database
        .connection(() => sleep(100).then(() => database.fetchVal('select 1')))
        .catch((error: unknown) => failures.push((error as { code: unknown }).code))
        .finally(() => response.end())
    })
    serving = await serveQuietly(app, { requestTimeoutMillis: 60 })
    await post(serving.url, '/')
    expect(failures).toEqual(['QUERY_TIMEOUT'])

    await serving.close()
    serving = await serveQuietly(app)
    const wire = new Wire(serving)
    wire.socket.write('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\na')
    await sleep(20)
    wire.socket.write('b')
    await waitFor(() => database.stats().used === 1)
    wire.socket.destroy()
    await waitFor(() => failures.length === 2)
    expect(failures).toEqual(['QUERY_TIMEOUT', 'QUERY_CANCELED'])
  })

  describe('for the end of the response', () => {
    const told: string[] = []
    const tell = (what: string): void => {
      void write(what).then(
        () => told.push(what),
        (error: unknown) => told.push(`${what}: ${String(error)}`),
      )
    }
    beforeEach(() => told.splice(0))

    /** An audit log in front of all other middleware. */
    const audited = (): Express =>
      express().use((_request, response, next) => {
        response.on('finish', () => tell('audit'))
        next()
      })

    /** Listens to every event of an end. */
    const listen = (incoming: Request, response: Response): string[] => {
      response.on('finish', () => tell('finish'))
      response.on('close', () => tell('close'))
      incoming.on('close', () => tell('request'))
      incoming.socket.on('close', () => tell('socket'))
      return ['close', 'finish', 'request', 'socket']
    }

    const answers: Record<string, () => RequestHandler[]> = {
      'ends in its transaction': () => [
        (incoming, response) =>
          database.transaction(async () => {
            await write('kept')
            listen(incoming, response)
            response.end('{}', () => tell('end'))
          }),
      ],
      'is followed by more of its transaction': () => [
        (incoming, response) =>
          database.transaction(async () => {
            await write('kept')
            listen(incoming, response)
            response.end('{}', () => tell('end'))
            await waitFor(() => response.writableFinished)
          }),
      ],
      'is written out of a stream in a transaction': () => [
        (incoming, response) =>
          database.transaction(async () => {
            await write('kept')
            listen(incoming, response)
            for await (const { what } of database.iterate<{ what: string }>('select what from log'))
              response.write(what)
            response.end(() => tell('end'))
          }),
      ],
      'has a transaction around it': () => [
        transactionPerRequest(database),
        async (incoming, response) => {
          await write('kept')
          listen(incoming, response)
          response.end('{}', () => tell('end'))
        },
      ],
      'has a connection around it': () => [
        connectionPerRequest(database),
        async (incoming, response) => {
          await write('kept')
          listen(incoming, response)
          response.end('{}', () => tell('end'))
        },
      ],
    }

    it.each(Object.entries(answers))('run outside of a transaction, where it %s', async (_name, handlers) => {
      serving = await serveQuietly(audited().get('/things/:id', ...handlers()))
      const wire = new Wire(serving)
      await wire.ask('GET /things/7 HTTP/1.1\r\nHost: x\r\n\r\n')
      await waitFor(() => told.length === 5)
      wire.socket.destroy()
      await waitFor(() => told.length === 6)
      expect(told.toSorted()).toEqual(['audit', 'close', 'end', 'finish', 'request', 'socket'])
      expect(await written()).toEqual(['audit', 'close', 'end', 'finish', 'kept', 'request', 'socket'])
      expect(new Set(labels)).toEqual(new Set(['GET /things/:id']))
    })

    it('keep their rows when the transaction of the response is rolled back', async () => {
      const app = audited().get('/', (_request, response) => {
        const work = async (): Promise<void> => {
          await write('lost')
          response.json({})
          await waitFor(() => response.writableFinished)
          throw new Error('late')
        }
        database.transaction(work).catch(() => undefined)
      })
      serving = await serveQuietly(app)
      await new Wire(serving).ask()
      await waitFor(() => told.length === 1)
      expect(told).toEqual(['audit'])
      expect(await written()).toEqual(['audit'])
    })

    it('that were added before the request had a scope run outside its connection', async () => {
      const app = audited().get('/', connectionPerRequest(database), async (_request, response) => {
        await write('kept')
        response.json({})
      })
      await using server = await startHttp(app)
      await fetch(server.url)
      await waitFor(() => told.length === 1)
      expect(told).toEqual(['audit'])
    })

    it('run although the client has disconnected, which cancels the rest of the request', async () => {
      const app = express().get('/', transactionPerRequest(database), async (incoming, response) => {
        await write('lost')
        listen(incoming, response)
        incoming.on('aborted', () => tell('aborted'))
        incoming.on('error', () => tell('error'))
        await new Promise(() => undefined)
      })
      serving = await serveQuietly(app)
      const wire = new Wire(serving)
      wire.socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
      await waitFor(() => labels.length === 1)
      wire.socket.destroy()
      await waitFor(() => told.length === 5)
      expect(await written()).toEqual(['aborted', 'close', 'error', 'request', 'socket'])
    })

    it('have the label of their own request on a shared connection', async () => {
      const app = express().get('/:name/:id', (incoming, response) => {
        const name = incoming.params.name
        incoming.socket.on('close', () => tell(name))
        response.json({})
      })
      app.get('/last', (_request, response) => database.transaction(async () => void response.json({})))
      serving = await serveQuietly(app)
      const wire = new Wire(serving)
      for (const path of ['/a/1', '/b/2', '/last']) await wire.ask(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`)
      wire.socket.destroy()
      await waitFor(() => told.length === 2)
      expect(await written()).toEqual(['a', 'b'])
      expect(labels).toEqual(['GET /:name/:id', 'GET /:name/:id'])
    })

    it('of a pipelined request do not run in the transaction of the response before', async () => {
      const app = express()
      app.get('/first', (_request, response) => {
        const work = async (): Promise<void> => {
          await write('lost')
          await waitFor(() => hasCome)
          response.json({})
          await waitFor(() => response.writableFinished && told.length >= 2)
          throw new Error('undo')
        }
        database.transaction(work).catch(() => undefined)
      })
      let hasCome = false
      app.get('/second', (_request, response) => {
        response.on('finish', () => tell('finish'))
        response.write('a')
        response.end('b', () => tell('end'))
        hasCome = true
      })
      // A second writer would wait for the first one.
      if (context.dialect === 'sqlite') told.push('nobody', 'nobody')
      serving = await serveQuietly(app)
      const wire = new Wire(serving)
      wire.socket.write('GET /first HTTP/1.1\r\nHost: x\r\n\r\nGET /second HTTP/1.1\r\nHost: x\r\n\r\n')
      await waitFor(async () => (await written()).length === 2)
      expect(await written()).toEqual(['end', 'finish'])
      expect(labels).toEqual(['GET /first', 'GET /second', 'GET /second'])
    })
  })

  it('are added to the response that middleware has replaced', async () => {
    const app = express().use(compression({ threshold: 0 }))
    app.get('/', async (_request, response) => {
      response.type('text')
      let drained = 0
      for (let size = 0; size < 8; size += 1) {
        if (response.write('x'.repeat(100_000))) continue
        await new Promise((resolve) => response.once('drain', resolve))
        drained += 1
      }
      response.end(String(drained > 0))
    })
    serving = await serveQuietly(app)
    const answer = await fetch(serving.url)
    expect(answer.headers.get('content-encoding')).toBe('gzip')
    expect(await answer.text()).toMatch(/xtrue$/)
  })

  it('can be found, listed and removed', async () => {
    const seen: string[] = []
    const app = express().get('/', transactionPerRequest(database), (incoming, response) => {
      for (const emitter of [incoming, response, incoming.socket]) {
        const first = (): number => seen.push('first')
        const second = (): number => seen.push('second')
        const once = (): number => seen.push('once')
        emitter.on('custom', second).prependListener('custom', first).once('custom', once)
        emitter.prependOnceListener('custom', once)
        expect(emitter.listeners('custom')).toEqual([once, first, second, once])
        expect(emitter.listenerCount('custom', second)).toBe(1)
        emitter.emit('custom')
        emitter.emit('custom')
        expect(seen.splice(0)).toEqual(['once', 'first', 'second', 'once', 'first', 'second'])
        expect(() => emitter.on('custom', 'none' as never)).toThrow(/must be of type function/)
        expect(() => emitter.once('custom', null as never)).toThrow(/must be of type function/)
        emitter.once('custom', once)
        emitter.off('custom', once).removeListener('custom', first).off('custom', second)
        expect(emitter.listenerCount('custom')).toBe(0)
      }
      response.json({})
    })
    serving = await serveQuietly(app)
    expect(await (await fetch(serving.url)).text()).toBe('{}')
  })
})
