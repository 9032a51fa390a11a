/** serve(): start and shutdown in order, with complete responses. */
import { once } from 'node:events'
import { Agent, get, type IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import express, { type Express } from 'express'
import request from 'supertest'
import { health, ListenError, ShutdownError } from '../../src/express'
import { freePort } from '../support/free-port'
import { standingCheck } from '../support/standing-check'
import { waitFor } from '../support/wait-for'
import { deferred, Lines, serveQuietly } from './support'

standingCheck()

/** An application whose `/slow` answers when its gate opens. */
function slowApp(): { app: Express; answer: () => void; arrived: () => number } {
  const gate = deferred()
  let arrived = 0
  const app = express()
  app.use(health())
  app.get('/slow', async (_request, response) => {
    arrived++
    await gate.promise
    response.json({ ok: true })
  })
  return { app, answer: gate.resolve, arrived: () => arrived }
}

it('serve() runs onStartup before it listens, and onShutdown after the last response', async () => {
  const { app, answer, arrived } = slowApp()
  const order: string[] = []
  const port = await freePort()
  const serving = await serveQuietly(app, {
    port,
    onStartup: async () => {
      const failure = await once(connect(port, '127.0.0.1'), 'connect').catch((error: unknown) => error)
      order.push((failure as NodeJS.ErrnoException).code ?? 'listens already')
    },
    onShutdown: () => void order.push('shutdown'),
  })
  const slow = request(serving.url)
    .get('/slow')
    .then(() => order.push('answered'))
  await waitFor(() => arrived() === 1)
  const closed = serving.close()
  answer()
  await Promise.all([slow, closed])
  expect(order).toEqual(['ECONNREFUSED', 'answered', 'shutdown'])
})

it('serve() answers running requests with Connection: close, and accepts no new ones', async () => {
  const { app, answer, arrived } = slowApp()
  const serving = await serveQuietly(app)
  const slow = Array.from({ length: 16 }, () =>
    request(serving.url)
      .get('/slow')
      .agent(new Agent({ keepAlive: true })),
  )
  const answers = Promise.all(slow.map((one) => one.expect(200)))
  await waitFor(() => arrived() === 16)
  const { url } = serving
  const closed = serving.close()
  await waitFor(() => !serving.server.listening)
  await expect(request(url).get('/slow')).rejects.toThrow('ECONNREFUSED')
  answer()
  for (const { headers } of await answers) expect(headers).toHaveProperty('connection', 'close')
  await closed
})

it('serve() finishes a response body that had begun, and closes idle connections at once', async () => {
  const gate = deferred()
  const app = express()
  app.get('/', (_request, response) => {
    response.json({})
  })
  app.get('/stream', async (_request, response) => {
    response.write('first ')
    await gate.promise
    response.end('last')
  })
  const serving = await serveQuietly(app)
  const idle = connect(serving.port, '127.0.0.1')
  idle.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
  await once(idle, 'data')
  const agent = new Agent({ keepAlive: true })
  const [stream] = (await once(get(`${serving.url}/stream`, { agent }), 'response')) as [IncomingMessage]
  const closed = serving.close()
  await once(idle, 'close')
  gate.resolve()
  expect(Buffer.concat((await stream.toArray()) as Buffer[]).toString()).toBe('first last')
  await closed
  agent.destroy()
})

it('serve() turns readiness off first, and answers during the grace', async () => {
  const { app } = slowApp()
  await using serving = await serveQuietly(app, { readinessGraceMillis: 1000 })
  await request(serving.url).get('/readyz').expect(200)
  void serving.close()
  const { headers, body } = await request(serving.url).get('/readyz').expect(503)
  expect(body).toEqual({ status: 'shutting down', databases: {} })
  expect(headers).toHaveProperty('connection', 'close')
  await request(serving.url).get('/livez').expect(200)
})

it('serve() cuts stuck requests at its time limit, and names them', async () => {
  const { app, answer, arrived } = slowApp()
  const serving = await serveQuietly(app, { shutdownTimeoutMillis: 100 })
  const slow = request(serving.url)
    .get('/slow?secret=1')
    .then(
      () => 'answered',
      () => 'cut',
    )
  await waitFor(() => arrived() === 1)
  const failure = await serving.close().catch((error: unknown) => error)
  expect(failure).toBeInstanceOf(ShutdownError)
  expect(String(failure)).toMatch(/not answered: GET \/slow for 0\.\d s/)
  expect(await slow).toBe('cut')
  answer()
})

it('serve() logs an onShutdown that fails or takes too long, and closes', async () => {
  const failing = await serveQuietly(express(), {
    onShutdown: () => Promise.reject(new Error('no more ink')),
  })
  await expect(failing.close()).rejects.toThrow('onShutdown: no more ink')
  const never = deferred()
  const hanging = await serveQuietly(express(), {
    shutdownTimeoutMillis: 50,
    onShutdown: () => never.promise,
  })
  await expect(hanging.close()).rejects.toThrow('onShutdown did not end in time')
  never.resolve()
})

it('serve() names the port that is in use, and leaves nothing open', async () => {
  await using first = await serveQuietly(express())
  const events: string[] = []
  const failure = await serveQuietly(express(), {
    port: first.port,
    onStartup: () => void events.push('startup'),
    onShutdown: () => void events.push('shutdown'),
  }).catch((error: unknown) => error)
  expect(failure).toBeInstanceOf(ListenError)
  expect(failure).toMatchObject({ code: 'EADDRINUSE' })
  expect(String(failure)).toContain(`127.0.0.1 port ${first.port} is already in use`)
  expect(events).toEqual(['startup', 'shutdown'])
})

it('serve() does not listen, and does not run onShutdown, when onStartup fails', async () => {
  const events: string[] = []
  const starting = serveQuietly(express(), {
    onStartup: () => Promise.reject(new Error('no flour')),
    onShutdown: () => void events.push('shutdown'),
  })
  await expect(starting).rejects.toThrow('no flour')
  expect(events).toEqual([])
})

it.each([
  [Object.assign({ port: 0 }, { prot: 1 }), "serve has no option 'prot'. Known ones are port, host,"],
  [{ port: 70_000 }, 'port is a whole number from 0 to 65535, got 70000.'],
  [{ shutdownTimeoutMillis: -1 }, 'shutdownTimeoutMillis is a number of milliseconds from 0 up, got -1.'],
  [{ shutdownTimeoutMillis: 2 ** 31 }, 'shutdownTimeoutMillis is at most 2147483647, got 2147483648.'],
  [{ readinessGraceMillis: 500, shutdownTimeoutMillis: 500 }, 'must be shorter'],
])('serve() refuses the options %j', async (options, message) => {
  await expect(serveQuietly(express(), options)).rejects.toThrow(message)
})

describe('serve() on a signal', () => {
  /**
   * Serves with a signal that nothing else here handles. The tests emit it themselves, because Jest gives each
   * file a `process` of its own, which real signals do not reach.
   */
  async function serveWithSignal(app: Express, options: Parameters<typeof serveQuietly>[1] = {}) {
    const exited = deferred<number>()
    const codes: number[] = []
    const logger = new Lines()
    const exit = (code: number): void => {
      codes.push(code)
      exited.resolve(code)
    }
    const serving = await serveQuietly(app, { signals: ['SIGUSR2'], exit, logger, ...options })
    return { serving, exited: exited.promise, codes, lines: logger.lines }
  }

  it('closes, exits with 0, and removes its signal handlers', async () => {
    const { exited, lines } = await serveWithSignal(express())
    process.emit('SIGUSR2', 'SIGUSR2')
    expect(await exited).toBe(0)
    expect(lines.slice(1)).toEqual(['SIGUSR2: shutting down, 0 requests in flight', 'shut down'])
    expect(process.listenerCount('SIGUSR2')).toBe(0)
  })

  it('exits with 1 when a request was stuck', async () => {
    const { app, answer, arrived } = slowApp()
    const { serving, exited, lines } = await serveWithSignal(app, { shutdownTimeoutMillis: 50 })
    const slow = request(serving.url)
      .get('/slow')
      .catch(() => {})
    await waitFor(() => arrived() === 1)
    process.emit('SIGUSR2', 'SIGUSR2')
    expect(await exited).toBe(1)
    expect(lines.at(-1)).toContain('not answered: GET /slow')
    answer()
    await slow
  })

  it('exits at once on a second signal', async () => {
    const { app, answer, arrived } = slowApp()
    const { serving, exited, codes } = await serveWithSignal(app)
    const slow = request(serving.url).get('/slow').expect(200)
    const sent = slow.then(() => {})
    await waitFor(() => arrived() === 1)
    process.emit('SIGUSR2', 'SIGUSR2')
    await waitFor(() => !serving.server.listening)
    await waitFor(() => {
      process.emit('SIGUSR2', 'SIGUSR2')
      return codes.length > 0
    })
    expect(await exited).toBeGreaterThan(128)
    answer()
    await sent
    await waitFor(() => codes.at(-1) === 0)
  })

  it('treats two signals at the same moment as one, as npm sends them on Ctrl-C', async () => {
    const { app, answer, arrived } = slowApp()
    const { serving, exited, codes, lines } = await serveWithSignal(app)
    const sent = request(serving.url)
      .get('/slow')
      .expect(200)
      .then(() => {})
    await waitFor(() => arrived() === 1)
    process.emit('SIGUSR2', 'SIGUSR2')
    process.emit('SIGUSR2', 'SIGUSR2')
    answer()
    await sent
    expect(await exited).toBe(0)
    expect(codes).toEqual([0])
    expect(lines.slice(1)).toEqual(['SIGUSR2: shutting down, 1 requests in flight', 'shut down'])
  })

  it('aborts a start that has not finished', async () => {
    const begun = deferred()
    const exited = deferred<number>()
    const starting = serveQuietly(express(), {
      signals: ['SIGUSR2'],
      exit: exited.resolve,
      onStartup: () => {
        begun.resolve()
        return new Promise(() => {})
      },
    })
    const failed = expect(starting).rejects.toThrow('SIGUSR2 came before the application was started.')
    await begun.promise
    process.emit('SIGUSR2', 'SIGUSR2')
    expect(await exited.promise).toBe(0)
    await failed
  })
})
