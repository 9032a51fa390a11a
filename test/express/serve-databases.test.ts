/** serve() with databases: connected before it listens, disconnected last, also after a failed start. */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import express from 'express'
import request from 'supertest'
import { Database } from '../../src/database'
import { health } from '../../src/express'
import { eachDatabase } from '../support/each-database'
import { freePort } from '../support/free-port'
import { waitFor } from '../support/wait-for'
import { arrived, endless } from '../database/support'
import { deferred, Lines, serveQuietly } from './support'

eachDatabase('serve() with databases', (context) => {
  const create = (name: string): Database => context.track(new Database(context.url, { name }))

  it('connects the databases in order, and disconnects them in reverse after the last answer', async () => {
    const order: string[] = []
    const databases = ['one', 'two'].map((name) =>
      create(name)
        .on('connect', () => order.push(`${name} connected`))
        .on('disconnect', () => order.push(`${name} disconnected`)),
    )
    const serving = await serveQuietly(express(), {
      databases,
      onStartup: () => order.push('startup'),
      onShutdown: () => order.push('shutdown'),
    })
    await serving.close()
    expect(order).toEqual([
      'one connected',
      'two connected',
      'startup',
      'shutdown',
      'two disconnected',
      'one disconnected',
    ])
  })

  it('logs each database with its address and a masked password', async () => {
    const logger = new Lines()
    const database = create('main')
    await using serving = await serveQuietly(express(), { databases: [database], logger })
    expect(logger.lines).toEqual([
      `database main (${String(database.url)}): connected`,
      `listening on ${serving.url}`,
    ])
  })

  it('lets a running request finish its queries', async () => {
    const database = create('main')
    const gate = deferred()
    const app = express()
    app.get('/', async (_request, response) => {
      await database.transaction(async () => {
        await database.fetchVal('select 1')
        await gate.promise
        response.json(await database.fetchVal('select 2'))
      })
    })
    const serving = await serveQuietly(app, { databases: [database] })
    const answer = request(serving.url).get('/').expect(200, '2')
    const sent = answer.then(() => {})
    await waitFor(() => database.stats().used === 1)
    const closed = serving.close()
    await waitFor(() => !serving.server.listening)
    gate.resolve()
    await sent
    await closed
    expect(database.isConnected).toBe(false)
  })

  it('disconnects the connected databases when a later step fails', async () => {
    const database = create('main')
    const failing = serveQuietly(express(), {
      databases: [database],
      onStartup: () => Promise.reject(new Error('no flour')),
    })
    await expect(failing).rejects.toThrow('no flour')
    expect(database.isConnected).toBe(false)
  })

  it('logs the holders of connections at the time limit', async () => {
    const database = create('main')
    const serving = await serveQuietly(express(), {
      databases: [database],
      shutdownTimeoutMillis: 200,
      onStartup: () => database.acquire(),
    })
    await expect(serving.close()).rejects.toThrow(/database main was held by start-up for 0\.\d s/)
  })

  it('cancels a request at the time limit with an error about the shutdown', async () => {
    const database = create('main')
    const failed = deferred<Error>()
    const app = express().get('/', async () => {
      await database.fetchVal(endless(context.dialect)).catch(failed.resolve)
    })
    const serving = await serveQuietly(app, { databases: [database], shutdownTimeoutMillis: 100 })
    const unanswered = request(serving.url)
      .get('/')
      .then(() => 'answered')
      .catch(() => 'cut')
    await arrived(context, database)
    await expect(serving.close()).rejects.toThrow(/not answered: GET \//)
    const error = await failed.promise
    expect(error).toMatchObject({ code: 'QUERY_CANCELED' })
    expect(error.message).toMatch(/The server has shut down before the request was answered\.$/)
    expect(await unanswered).toBe('cut')
  })

  it('cancels a start that waits for a database when a signal arrives', async () => {
    // It accepts connections and never answers, like a host that drops packets.
    const sockets: Socket[] = []
    const silent = createServer((socket) => sockets.push(socket)).listen(await freePort(), '127.0.0.1')
    await once(silent, 'listening')
    const { port } = silent.address() as AddressInfo
    const database = context.track(
      new Database(`postgresql://nobody@127.0.0.1:${port}/nothing`, { connectTimeoutMillis: 60_000 }),
    )
    const exited = deferred<number>()
    const starting = serveQuietly(express(), {
      databases: [database],
      signals: ['SIGUSR2'],
      exit: exited.resolve,
    })
    const failed = expect(starting).rejects.toThrow('SIGUSR2 came before the application was started.')
    await waitFor(() => sockets.length > 0)
    process.emit('SIGUSR2', 'SIGUSR2')
    expect(await exited.promise).toBe(0)
    await failed
    silent.close()
    for (const socket of sockets) socket.destroy()
  })

  it('answers /readyz with the cause while a database is down', async () => {
    const database = create('main')
    await using serving = await serveQuietly(express().use(health(database)), { databases: [database] })
    await request(serving.url).get('/readyz').expect(200)
    await database.disconnect()
    await request(serving.url).get('/readyz').expect(503)
  })

  it('releases its port when a database cannot be connected', async () => {
    const port = await freePort()
    const nobody = await freePort()
    const database = context.track(
      new Database(`postgresql://app:hunter2@127.0.0.1:${nobody}/x`, { connectTimeoutMillis: 100 }),
    )
    const logger = new Lines()
    const failure = await serveQuietly(express(), { port, databases: [database], logger }).catch(
      (error: unknown) => error,
    )
    expect(failure).toMatchObject({ code: 'CONNECTION_FAILED' })
    expect([String(failure), ...logger.lines].join('\n')).not.toContain('hunter2')
    await expect(
      new Promise((resolve, reject) => connect(port, '127.0.0.1', () => resolve('open')).on('error', reject)),
    ).rejects.toThrow('ECONNREFUSED')
  })
})
