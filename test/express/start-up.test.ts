/** Start-up while databases are unreachable: required ones are awaited, optional ones are not. */
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import express, { type Express } from 'express'
import request from 'supertest'
import { Database, type DatabaseOptions } from '../../src/database'
import { health, problems } from '../../src/express'
import { eachDatabase } from '../support/each-database'
import { freePort } from '../support/free-port'
import { startProxy } from '../support/tcp-proxy'
import { waitFor } from '../support/wait-for'
import { deferred, Lines, serveQuietly } from './support'

/** A route for each database, which queries it. */
function appOf(...databases: readonly Database[]): Express {
  const app = express()
  for (const database of databases) {
    app.get(`/${database.name}`, async (_request, response) => {
      response.json(await database.fetchVal('select 1'))
    })
  }
  return app
}

eachDatabase('a start with an unreachable database', (context) => {
  /** A URL of a port where nothing listens. */
  const awayUrl = async (): Promise<string> => `postgresql://app:hunter2@127.0.0.1:${await freePort()}/away`
  const open = (url: string, options?: DatabaseOptions): Database => context.track(new Database(url, options))

  it('fails after connectTimeoutMillis, with one line that says how long it tries', async () => {
    const logger = new Lines()
    const database = open(await awayUrl(), { name: 'main', connectTimeoutMillis: 1000 })
    const began = performance.now()
    const failure = await serveQuietly(express(), { databases: [database], logger }).catch(
      (error: unknown) => error,
    )
    const tookMillis = performance.now() - began
    expect(failure).toMatchObject({ code: 'CONNECTION_FAILED' })
    expect(tookMillis).toBeGreaterThan(950)
    expect(tookMillis).toBeLessThan(2500)
    expect(logger.lines).toEqual([
      expect.stringMatching(
        /^database main \(.*\): cannot be reached \(.*ECONNREFUSED.*\)\. Trying for another (1\.0|0\.\d) s\.$/,
      ),
    ])
    expect(logger.lines.join()).not.toContain('hunter2')
  })

  it('logs that it waits for a server that does not answer', async () => {
    const sockets: Socket[] = []
    const silent = createServer((socket) => sockets.push(socket)).listen(await freePort(), '127.0.0.1')
    await once(silent, 'listening')
    const { port } = silent.address() as AddressInfo
    const logger = new Lines()
    const database = open(`postgresql://app@127.0.0.1:${port}/silent`, { connectTimeoutMillis: 60_000 })
    const exited = deferred<number>()
    const starting = serveQuietly(express(), {
      databases: [database],
      logger,
      signals: ['SIGUSR2'],
      exit: exited.resolve,
    })
    const stopped = expect(starting).rejects.toThrow('SIGUSR2 came before')
    const said = await waitFor(() => logger.lines[0])
    expect(said).toMatch(/cannot be reached \(it gives no sign of life\)\. Trying for another 59 s\.$/)
    process.emit('SIGUSR2', 'SIGUSR2')
    await stopped
    expect(await exited.promise).toBe(0)
    for (const socket of sockets) socket.destroy()
    silent.close()
  })

  it('continues without an optional one, and names it', async () => {
    const logger = new Lines()
    const main = open(context.url, { name: 'main' })
    const away = open(await awayUrl(), { name: 'away', connectTimeoutMillis: 60_000 })
    const databases = [{ database: away, required: false }, main]
    const app = appOf(main, away)
      .use(health(...databases))
      .use(problems({ onError: () => {} }))
    const began = performance.now()
    await using serving = await serveQuietly(app, { databases, logger })
    expect(performance.now() - began).toBeLessThan(2000)
    await request(serving.url).get('/main').expect(200, '1')
    const { body, headers } = await request(serving.url).get('/away').expect(503)
    expect(headers).toMatchObject({
      'content-type': expect.stringContaining('application/problem+json') as string,
      'retry-after': '1',
    })
    expect(body).toMatchObject({ status: 503 })
    await request(serving.url)
      .get('/readyz')
      .expect(200, { status: 'ready', databases: { away: 'NOT_CONNECTED', main: 'ready' } })
    expect(logger.lines).toEqual([
      expect.stringMatching(/^database away \(.*\): cannot be reached .*It is not required/),
      expect.stringMatching(/^database main \(.*\): connected$/),
      `listening on ${serving.url}`,
    ])
  })

  it('retries an optional one that refused the first attempt', async () => {
    const lines = new Lines()
    let isBroken = true
    const late = open(context.url, {
      name: 'late',
      afterConnect: async () => {
        if (isBroken) throw new Error('not yet')
      },
    })
    await using serving = await serveQuietly(appOf(late), {
      databases: [{ database: late, required: false }],
      logger: lines,
    })
    expect(late.isConnected).toBe(false)
    isBroken = false
    await waitFor(() => late.isConnected)
    await request(serving.url).get('/late').expect(200)
  })

  it.each([
    [{ required: false }, 'databases takes each as a Database'],
    [{ database: null }, 'databases takes each as a Database'],
  ])('refuses %j in the list of databases', async (entry, message) => {
    const databases = [entry] as never
    await expect(serveQuietly(express(), { databases })).rejects.toThrow(message)
  })

  if (context.dialect !== 'postgresql') return

  it('waits for a server that comes up', async () => {
    const proxy = await startProxy(context.url)
    proxy.refuse()
    const logger = new Lines()
    const database = open(proxy.url, { name: 'main' })
    const starting = serveQuietly(appOf(database), { databases: [database], logger })
    await waitFor(() => logger.lines.length > 0)
    await proxy.accept()
    const serving = await starting
    await request(serving.url).get('/main').expect(200)
    expect(logger.lines).toEqual([
      expect.stringMatching(/cannot be reached .* Trying for another 1[45] s\.$/),
      expect.stringMatching(/: connected$/),
      `listening on ${serving.url}`,
    ])
    await serving.close()
    await proxy.close()
  })

  it('serves the routes of a database again when it comes back, and other routes all the time', async () => {
    const proxy = await startProxy(context.url)
    const pool = { acquireTimeoutMillis: 300 }
    const main = open(context.url, { name: 'main' })
    const other = open(proxy.url, { name: 'other', pool })
    const databases = [main, { database: other, required: false }]
    const app = appOf(main, other)
      .use(health(...databases))
      .use(problems({ onError: () => {} }))
    const serving = await serveQuietly(app, { databases })
    const { url } = serving
    await request(url).get('/other').expect(200)
    proxy.refuse()
    proxy.cut()
    for (let times = 0; times < 20; times += 1) {
      const [well, ill] = await Promise.all([request(url).get('/main'), request(url).get('/other')])
      expect([well.status, ill.status, ill.headers['retry-after']]).toEqual([200, 503, '1'])
    }
    await request(url)
      .get('/readyz')
      .expect(200, { status: 'ready', databases: { main: 'ready', other: 'CONNECTION_FAILED' } })
    await proxy.accept()
    await waitFor(async () => (await request(url).get('/other')).status === 200)
    await waitFor(async () => {
      const { body } = await request(url).get('/readyz')
      return (body as { databases: { other: string } }).databases.other === 'ready'
    })
    await serving.close()
    await proxy.close()
  })

  it('connects an optional one that is reachable, and disconnects it at the end', async () => {
    const proxy = await startProxy(context.url)
    proxy.refuse()
    const logger = new Lines()
    const late = open(proxy.url, { name: 'late', connectTimeoutMillis: 300 })
    const serving = await serveQuietly(appOf(late), {
      databases: [{ database: late, required: false }],
      logger,
    })
    expect(late.isConnected).toBe(false)
    await proxy.accept()
    await waitFor(() => late.isConnected)
    await request(serving.url).get('/late').expect(200)
    await waitFor(() => logger.lines.at(-1)?.endsWith(': connected'))
    // Once, although it was retried.
    expect(logger.lines.filter((line) => line.includes('cannot be reached'))).toHaveLength(1)
    await serving.close()
    expect(late.isConnected).toBe(false)
    await proxy.close()
  })
})
