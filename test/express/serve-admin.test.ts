/** serve() with admin: the listener for operators, its address, its start and end, and which hosts it answers. */
import { createServer } from 'node:http'
import { once } from 'node:events'
import { connect } from 'node:net'
import express from 'express'
import request from 'supertest'
import { Database } from '../../src/database'
import { serve } from '../../src/express'
import { freePort } from '../support/free-port'
import { standingCheck } from '../support/standing-check'
import { waitFor } from '../support/wait-for'
import { deferred, Lines, serveQuietly } from './support'

describe('serve() with admin', () => {
  standingCheck()
  const create = (name = 'shop'): Database => new Database('sqlite:///:memory:', { name })

  it('serves monitor, metrics and health on localhost only, and not beside the application', async () => {
    await using serving = await serveQuietly(express(), {
      databases: [create()],
      admin: { port: await freePort() },
    })
    const url = serving.adminUrl ?? ''
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:/)
    for (const path of ['/', '/pool.json', '/metrics', '/livez', '/readyz']) {
      await request(url).get(path).expect(200)
      await request(serving.url).get(path).expect(404)
    }
    await request(url)
      .get('/nothing')
      .expect(404)
      .expect('Content-Type', /problem\+json/)
  })

  it('opens no admin listener by default', async () => {
    await using serving = await serveQuietly(express(), { databases: [create()] })
    await using other = await serveQuietly(express(), { databases: [create()], admin: false })
    expect([serving.adminUrl, other.adminUrl]).toEqual([null, null])
  })

  it('shows its own list of databases instead of the served ones', async () => {
    const [one, two] = [create('one'), create('two')]
    await using serving = await serveQuietly(express(), {
      databases: [one, two],
      admin: { port: 0, databases: [two] },
    })
    const { body } = await request(serving.adminUrl ?? '').get('/readyz')
    expect(body).toEqual({ status: 'ready', databases: { two: 'ready' } })
  })

  it('answers while the application starts and shuts down', async () => {
    const gate = deferred()
    const logger = new Lines()
    const port = await freePort()
    const app = express().get('/slow', async (_request, response) => {
      await gate.promise
      response.end()
    })
    const started = deferred()
    const starting = serveQuietly(app, {
      databases: [create()],
      admin: { port },
      logger,
      onStartup: () => started.promise,
    })
    const admin = `http://127.0.0.1:${port}`
    await waitFor(() => logger.lines.some((line) => line.endsWith('connected')))
    await request(admin).get('/readyz').expect(200)
    started.resolve()
    const serving = await starting
    const slow = request(serving.url).get('/slow')
    const sent = slow.then(() => {})
    const connections = (): Promise<number> =>
      new Promise((resolve) => serving.server.getConnections((_error, count) => resolve(count)))
    await waitFor(async () => (await connections()) > 0)
    const closed = serving.close()
    await request(admin).get('/readyz').expect(503)
    await request(admin).get('/metrics').expect(200)
    gate.resolve()
    await sent
    await closed
    await expect(
      new Promise((resolve, reject) => connect(port, '127.0.0.1', () => resolve('open')).on('error', reject)),
    ).rejects.toThrow('ECONNREFUSED')
  })

  it('names the port that is in use, before a database is connected', async () => {
    const port = await freePort()
    const other = createServer().listen(port, '127.0.0.1')
    await once(other, 'listening')
    const database = create()
    let connects = 0
    database.on('connect', () => (connects += 1))
    const failing = serveQuietly(express(), { databases: [database], admin: { port } })
    await expect(failing).rejects.toMatchObject({
      name: 'ListenError',
      code: 'EADDRINUSE',
      message: expect.stringContaining(`127.0.0.1 port ${port} is already in use`),
    })
    expect(connects).toBe(0)
    other.close()
  })

  it('closes its listener when the application does not start', async () => {
    const port = await freePort()
    const failing = serveQuietly(express(), {
      databases: [create()],
      admin: { port },
      onStartup: () => Promise.reject(new Error('no flour')),
    })
    await expect(failing).rejects.toThrow('no flour')
  })

  it('refuses requests with a foreign Host header', async () => {
    await using serving = await serveQuietly(express(), { databases: [create()], admin: { port: 0 } })
    const url = serving.adminUrl ?? ''
    await request(url).get('/pool.json').set('Host', 'evil.example').expect(403)
    for (const host of ['localhost:1', 'LOCALHOST', '127.0.0.1:1', '[::1]:1', 'shop.localhost']) {
      await request(url).get('/pool.json').set('Host', host).expect(200)
    }
    // A load balancer that polls by HTTP/1.0 sends no host.
    const socket = connect(Number(new URL(url).port), '127.0.0.1')
    socket.write('GET /readyz HTTP/1.0\r\n\r\n')
    const [head] = (await once(socket, 'data')) as [Buffer]
    expect(head.toString()).toContain(' 200 OK')
    socket.destroy()
  })

  it.each([
    [{ port: -1 }, 'admin.port is a whole number from 0 to 65535, got -1.'],
    [{ port: 3001, hots: 'x' }, "admin has no option 'hots'. Known ones are port, host, databases."],
  ])('refuses %j', async (admin, message) => {
    await expect(serve(express(), { admin, signals: [] })).rejects.toMatchObject({
      code: 'CONFIGURATION_INVALID',
      message,
    })
  })
})
