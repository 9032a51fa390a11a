/** The service's log: one line per request, with its costs and ids, and without secrets. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'
import request from 'supertest'
import { toRun } from '../support/compiled'
import { freePort } from '../support/free-port'
import { waitFor } from '../support/wait-for'
import { eachService } from './support/open-service'

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
const PARENT = `00-${TRACE}-00f067aa0ba902b7-01`

eachService(
  'the log',
  (service) => {
    const lineOf = (route: string): Promise<Record<string, unknown>> =>
      waitFor(() => service.logged.find((one) => one['route'] === route))

    it('has one line per request, with its result and its costs', async () => {
      await request(service.url)
        .post('/users')
        .send({ username: 'ada', email: 'ada@example.com' })
        .expect(201)
      const line = await lineOf('/users')
      expect(line).toEqual({
        level: 30,
        time: expect.any(Number),
        pid: process.pid,
        hostname: expect.any(String),
        method: 'POST',
        route: '/users',
        status: 201,
        durationMillis: expect.any(Number),
        statements: 1,
        waitMillis: expect.any(Number),
        databaseMillis: expect.any(Number),
        requestId: expect.stringMatching(/^[\da-f-]{36}$/),
        msg: expect.stringMatching(/^POST \/users 201 \([\d.]+ ms: 1 statement in [\d.]+ ms/),
      })
      expect(Number(line['databaseMillis'])).toBeGreaterThan(0)
      expect(Number(line['durationMillis'])).toBeGreaterThanOrEqual(Number(line['databaseMillis']))
      expect(service.logged).toHaveLength(1)
    })

    it('distinguishes the wait for a connection from a slow database', async () => {
      const { size, maxOverflow } = service.main.stats()
      const all = Array.from({ length: size + maxOverflow }, () => service.main.acquire())
      const held = await Promise.all(all)
      const asked = request(service.url).get('/users').expect(200)
      const answered = asked.then(() => {})
      await waitFor(() => service.main.stats().waiting === 1)
      const since = performance.now()
      await waitFor(() => performance.now() - since > 30)
      for (const connection of held) await connection.release()
      await answered
      const line = await lineOf('/users')
      expect(Number(line['waitMillis'])).toBeGreaterThanOrEqual(30)
      expect(line['statements']).toBe(1)
      expect(line['msg']).toMatch(/ 1 statement in [\d.]+ ms, after [\d.]+ ms of waiting for a connection\)$/)
    })

    it.each([
      ['its own id', { 'X-Request-Id': 'order-17.retry:2' }, 'order-17.retry:2', undefined],
      ['its trace', { traceparent: PARENT }, TRACE, TRACE],
      ['both', { 'X-Request-Id': 'mine', traceparent: PARENT }, 'mine', TRACE],
      ['a later version of traceparent', { traceparent: `01${PARENT.slice(2)}-more` }, TRACE, TRACE],
    ])('has the request id of %s, and so does the response', async (_what, headers, id, traceId) => {
      const answer = await request(service.url)
        .get('/posts')
        .set(headers as Record<string, string>)
        .expect(200)
      expect(answer.headers).toHaveProperty('x-request-id', id)
      const line = await lineOf('/posts')
      expect([line['requestId'], line['traceId']]).toEqual([id, traceId])
    })

    it.each([
      ['an id that is too long', { 'X-Request-Id': 'x'.repeat(129) }],
      ['an id with blanks', { 'X-Request-Id': 'a b' }],
      ['an id with markup', { 'X-Request-Id': '<script>' }],
      ['an empty id', { 'X-Request-Id': '' }],
      ['a trace of zeros', { traceparent: `00-${'0'.repeat(32)}-00f067aa0ba902b7-01` }],
      ['a parent of zeros', { traceparent: `00-${TRACE}-${'0'.repeat(16)}-01` }],
      ['a version that is forbidden', { traceparent: `ff${PARENT.slice(2)}` }],
      ['a version 00 with more behind it', { traceparent: `${PARENT}-more` }],
      ['a trace in upper case', { traceparent: PARENT.toUpperCase() }],
    ])('does not accept %s as a request id', async (_what, headers) => {
      const answer = await request(service.url)
        .get('/posts')
        .set(headers as unknown as Record<string, string>)
        .expect(200)
      expect(answer.get('x-request-id')).toMatch(/^[\da-f]{8}-[\da-f-]{27}$/)
      expect(await lineOf('/posts')).not.toHaveProperty('traceId')
    })

    it('gives each request an id of its own, and a failure the id of its request', async () => {
      const first = await request(service.url).get('/posts').expect(200)
      const second = await request(service.url).get('/posts').expect(200)
      expect(first.get('x-request-id')).not.toBe(second.get('x-request-id'))
      await service.main.execute('ALTER TABLE accounts RENAME TO gone')
      try {
        const failed = await request(service.url).get('/accounts').expect(503)
        const lines = await waitFor(() => {
          const found = service.logged.filter((one) => one['requestId'] === failed.get('x-request-id'))
          return found.length === 2 && found
        })
        expect(lines).toMatchObject([
          { level: 50, err: { type: 'UndefinedNameError' } },
          { level: 30, status: 503 },
        ])
      } finally {
        await service.main.execute('ALTER TABLE gone RENAME TO accounts')
      }
    })

    it('holds no secret, whatever fails', async () => {
      const send = (text: string): request.Test =>
        request(service.url)
          .post('/users?hunter2-in-query=1')
          .set('Authorization', 'Bearer hunter2-token')
          .set('Cookie', 'session=hunter2-cookie')
          .set('Content-Type', 'application/json')
          .send(text)
      await send('{"username": "hunter2-name", "password": "hunter2-password"}').expect(422)
      await send('{"password": "hunter2-password" ').expect(400)
      await service.main.execute('ALTER TABLE users RENAME TO gone')
      try {
        await request(service.url)
          .post('/users')
          .set('Authorization', 'Basic aHVudGVyMg==')
          .send({ username: 'hunter2-name', email: 'hunter2@example.com' })
          .expect(503)
      } finally {
        await service.main.execute('ALTER TABLE gone RENAME TO users')
      }
      await waitFor(() => service.logged.filter((one) => one['route'] === '/users').length === 3)
      expect(service.logged).toHaveLength(4)
      expect(JSON.stringify(service.logged)).not.toMatch(/hunter2|aHVudGVyMg/)
    })
  },
  { rollsBack: false },
)

describe('in a terminal', () => {
  it('the log is formatted for people, without fields that repeat the message', async () => {
    const main = [process.execPath, ...toRun(path.resolve(__dirname, '../../src/service/main.ts'))].join(' ')
    // `script` runs it in a terminal.
    const child = spawn('script', ['-qefc', main, '/dev/null'], {
      cwd: '/tmp',
      env: {
        PATH: process.env['PATH'] ?? '',
        DATABASE_URL: 'sqlite://',
        PRODUCTS_DATABASE_URL: 'sqlite://',
        PORT: String(await freePort()),
        NO_COLOR: '1',
      },
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    let output = ''
    child.stdout.on('data', (data: Buffer) => (output += data.toString()))
    try {
      const url = await waitFor(() => /listening on (\S+)/.exec(output)?.[1], { timeoutMillis: 20_000 })
      await request(url).get('/users/1').set('X-Request-Id', 'seen-by-people').expect(200)
      const line = await waitFor(() => /^.*GET \/users\/:id 200.*$/m.exec(output)?.[0])
      expect(line).toMatch(
        /^\[\d\d:\d\d:\d\d\.\d+\] INFO: GET \/users\/:id 200 \([\d.]+ ms: 1 statement in [\d.]+ ms(?:, after [\d.]+ ms of waiting for a connection)?\) \{"requestId":"seen-by-people"\}\s*$/,
      )
    } finally {
      child.kill('SIGTERM')
      if (child.exitCode === null) await once(child, 'close')
    }
  })
})
