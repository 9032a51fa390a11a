/** Draining at shutdown: keep-alive, pipelining and slow clients are answered, and no connection is reset. */
import { once } from 'node:events'
import { Agent, type IncomingMessage, request as httpRequest } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import express, { type Express } from 'express'
import { problems, type ServeOptions, type Serving } from '../../src/express'
import { standingCheck } from '../support/standing-check'
import { waitFor } from '../support/wait-for'
import { deferred, Lines, serveQuietly } from './support'
import { GET, Wire } from './wire'

standingCheck()

function answering(): Express {
  const app = express()
  app.get('/', (_request, response) => {
    response.json({ ok: true })
  })
  return app
}

const serveWithGrace = (app: Express, options: ServeOptions = {}): Promise<Serving> =>
  serveQuietly(app, { keepAliveGraceMillis: 500, ...options })

it('a server that shuts down answers a request on an idle connection with Connection: close', async () => {
  const serving = await serveWithGrace(answering())
  const wires = Array.from({ length: 8 }, () => new Wire(serving))
  await Promise.all(wires.map((wire) => wire.ask()))
  const closed = serving.close()
  await waitFor(() => !serving.server.listening)
  await Promise.all(wires.map((wire) => wire.ask()))
  await Promise.all(wires.map(({ ended }) => ended))
  for (const { error, text } of wires) {
    expect(error).toBeNull()
    expect(text.match(/^Connection: .*/gm)).toEqual(['Connection: keep-alive', 'Connection: close'])
  }
  await closed
})

it('a server that shuts down answers the first request of a connection that was silent before', async () => {
  const serving = await serveWithGrace(answering())
  const wire = new Wire(serving)
  await once(wire.socket, 'connect')
  const closed = serving.close()
  await waitFor(() => !serving.server.listening)
  await wire.ask()
  await closed
  await wire.ended
  expect(wire.statuses).toEqual(['200'])
  expect(wire.error).toBeNull()
})

it('a server that shuts down closes a silent connection after the grace, and not before', async () => {
  const serving = await serveWithGrace(answering(), { keepAliveGraceMillis: 200 })
  const wire = new Wire(serving)
  await wire.ask()
  const began = performance.now()
  await serving.close()
  expect(performance.now() - began).toBeGreaterThan(195)
  await wire.ended
  expect(wire.error).toBeNull()
})

it('a server that shuts down does not wait when all connections are closed', async () => {
  const serving = await serveWithGrace(answering(), { keepAliveGraceMillis: 20_000 })
  const wire = new Wire(serving)
  await wire.ask()
  const closed = serving.close()
  wire.socket.end()
  const began = performance.now()
  await closed
  expect(performance.now() - began).toBeLessThan(5000)
})

it('a server that shuts down counts the grace from the last use of a connection after readiness was off', async () => {
  const grace = { readinessGraceMillis: 1000, keepAliveGraceMillis: 900, shutdownTimeoutMillis: 60_000 }
  const serving = await serveWithGrace(answering(), grace)
  const wire = new Wire(serving)
  await wire.ask()
  const began = performance.now()
  await serving.close()
  expect(performance.now() - began).toBeLessThan(1800)
})

it('a server that shuts down gives idle connections at most half of the time limit, without a warning', async () => {
  const serving = await serveWithGrace(answering(), {
    keepAliveGraceMillis: 60_000,
    shutdownTimeoutMillis: 2000,
  })
  const wire = new Wire(serving)
  await wire.ask()
  const began = performance.now()
  await serving.close()
  expect(performance.now() - began).toBeLessThan(2000)
  await wire.ended
})

it('a server that shuts down answers a request head that arrives in pieces', async () => {
  const serving = await serveWithGrace(answering(), { keepAliveGraceMillis: 300 })
  const wire = new Wire(serving)
  await wire.ask()
  const closed = serving.close()
  // Longer than the grace in total.
  for (const piece of GET.match(/.{1,4}/gs) ?? []) {
    wire.socket.write(piece)
    await delay(60)
  }
  await closed
  await wire.ended
  expect(wire.statuses).toEqual(['200', '200'])
  expect(wire.error).toBeNull()
})

it('a server that shuts down keeps a connection open for the grace after a response without Connection: close', async () => {
  const gate = deferred()
  const app = answering()
  app.get('/stream', async (_request, response) => {
    response.write('first ')
    await gate.promise
    response.end('last')
  })
  const serving = await serveWithGrace(app)
  const wire = new Wire(serving)
  await wire.ask('GET /stream HTTP/1.1\r\nHost: x\r\n\r\n')
  const closed = serving.close()
  await waitFor(() => !serving.server.listening)
  gate.resolve()
  await waitFor(() => wire.text.includes('last'))
  await wire.ask()
  await closed
  await wire.ended
  expect(wire.statuses).toEqual(['200', '200'])
  expect(wire.error).toBeNull()
})

it('a server that shuts down resets no connection of many busy clients', async () => {
  const serving = await serveWithGrace(answering())
  const agent = new Agent({ keepAlive: true, maxSockets: 32 })
  const outcomes: (number | string | undefined)[] = []
  const { url } = serving
  const one = (): Promise<IncomingMessage> =>
    new Promise((resolve, reject) => {
      httpRequest(url, { agent }, resolve).on('error', reject).end()
    })
  const client = async (): Promise<void> => {
    for (;;) {
      try {
        const answer = await one()
        outcomes.push(answer.statusCode)
        for await (const _ of answer);
        // A client that gets Connection: close has no other server to ask here.
        if (answer.headers.connection === 'close') return
      } catch (error) {
        outcomes.push((error as NodeJS.ErrnoException).code)
        return
      }
    }
  }
  const clients = Array.from({ length: 32 }, client)
  await waitFor(() => outcomes.length > 500, { timeoutMillis: 20_000 })
  await serving.close()
  await Promise.all(clients)
  agent.destroy()
  expect([...new Set(outcomes)]).toEqual([200])
})

describe('a request body that stalls while the server shuts down', () => {
  const HEAD =
    'POST /up HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"a":'

  it.each([
    ['is awaited by express.json', (app: Express) => app.use(express.json())],
    [
      'is read by the handler',
      (app: Express) =>
        app.use(async (incoming, _response, next) => {
          for await (const _ of incoming);
          next()
        }),
    ],
  ])('is answered 408 after two seconds when it %s', async (_name, read) => {
    const errors: unknown[] = []
    const handled: string[] = []
    const app = read(express())
    app.post('/up', (_request, response) => {
      handled.push('handled')
      response.json({})
    })
    app.use(problems({ onError: (error) => errors.push(error) }))
    const logger = new Lines()
    const serving = await serveQuietly(app, { shutdownTimeoutMillis: 20_000, logger })
    const wire = new Wire(serving)
    let arrived = false
    serving.server.prependListener('request', () => (arrived = true))
    wire.socket.write(HEAD)
    await waitFor(() => arrived)
    const began = performance.now()
    await serving.close()
    const tookMillis = performance.now() - began
    await wire.ended
    expect(wire.statuses).toEqual(['408'])
    expect(wire.text).toMatch(/^Connection: close$/m)
    const document: unknown = JSON.parse(wire.text.slice(wire.text.indexOf('\r\n\r\n')))
    expect(document).toMatchObject({ status: 408, title: 'Request Timeout' })
    expect(wire.error).toBeNull()
    expect(tookMillis).toBeGreaterThan(1950)
    expect(tookMillis).toBeLessThan(5000)
    expect(handled).toEqual([])
    expect(errors).toEqual([])
    expect(logger.lines).toContain('POST /up was given up: the rest of its body did not come')
  })

  it('is awaited as long as it makes progress, however slowly', async () => {
    const app = express().use(express.json())
    app.post('/up', ({ body }, response) => {
      response.json(body)
    })
    const serving = await serveQuietly(app)
    const wire = new Wire(serving)
    let arrived = false
    serving.server.prependListener('request', () => (arrived = true))
    wire.socket.write(
      'POST /up HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n',
    )
    await waitFor(() => arrived)
    const closed = serving.close()
    for (const piece of ['{"a', '":', '12', '345}']) {
      await delay(800)
      wire.socket.write(piece)
    }
    await closed
    await wire.ended
    expect(wire.statuses).toEqual(['200'])
    expect(wire.text).toContain('{"a":12345}')
  })

  it('does not delay the shutdown when the handler does not read it', async () => {
    const gate = deferred()
    const app = express()
    app.post('/up', async (_request, response) => {
      await gate.promise
      response.json({ ok: true })
    })
    const serving = await serveQuietly(app)
    const wire = new Wire(serving)
    let arrived = false
    serving.server.prependListener('request', () => (arrived = true))
    wire.socket.write(HEAD)
    await waitFor(() => arrived)
    const closed = serving.close()
    // Longer than a body that is read may stall.
    await delay(2300)
    gate.resolve()
    await closed
    await wire.ended
    expect(wire.statuses).toEqual(['200'])
  })
})
