/** problems(): errors as problem details with the right status, and no internals. */
import express, { type RequestHandler } from 'express'
import request from 'supertest'
import {
  CheckViolationError,
  CommitUnknownError,
  ConfigurationError,
  ConnectionError,
  ConstraintViolationError,
  DatabaseError,
  ForeignKeyViolationError,
  NotConnectedError,
  NotNullViolationError,
  PoolTimeoutError,
  QueryCanceledError,
  QueryError,
  QueryTimeoutError,
  SerializationError,
  TransactionClosedError,
  UniqueViolationError,
} from '../../src/database'
import { HttpProblem, methodNotAllowed, notFound, problems, type Serving } from '../../src/express'
import { standingCheck } from '../support/standing-check'
import { waitFor } from '../support/wait-for'
import { serveQuietly } from './support'

const SQL = 'select hush from vault'
const SECRET = 'hunter2'
const VIOLATION = { constraint: 'vault_hush_key', table: 'vault', columns: ['hush'] }
const CAUSE = { cause: new Error(`${SECRET} at /etc/vault`) }

let logged: unknown[] = []
let serving: Serving

/** Serves one handler with `problems` behind it. */
async function serveHandler(handler: RequestHandler): Promise<string> {
  const app = express().use(express.json({ limit: '1kb' }))
  app.all('/', handler)
  app.use(notFound(), problems({ onError: (error) => void logged.push(error) }))
  serving = await serveQuietly(app)
  return serving.url
}

async function answerOf(handler: RequestHandler): Promise<request.Response> {
  return request(await serveHandler(handler)).get('/')
}

function thrown(error: unknown): Promise<request.Response> {
  return answerOf(() => {
    throw error
  })
}

beforeEach(() => {
  logged = []
})
afterEach(() => serving.close())
// Last, so that it runs when the server has been closed.
standingCheck()

it.each([
  [409, new UniqueViolationError(SECRET, SQL, VIOLATION, CAUSE)],
  [409, new ForeignKeyViolationError(SECRET, SQL, VIOLATION, CAUSE)],
  [422, new NotNullViolationError(SECRET, SQL, VIOLATION, CAUSE)],
  [422, new CheckViolationError(SECRET, SQL, VIOLATION, CAUSE)],
  [409, new ConstraintViolationError(SECRET, SQL, VIOLATION, CAUSE)],
  [503, new NotConnectedError(SECRET)],
  [503, new ConnectionError(SECRET, CAUSE)],
  [503, new PoolTimeoutError(SECRET, [], 3)],
  [503, new SerializationError(SECRET, SQL, CAUSE)],
  [503, new QueryCanceledError(SECRET, SQL)],
  [504, new QueryTimeoutError(SECRET, SQL)],
  [500, new QueryError(SECRET, SQL, CAUSE)],
  [500, new TransactionClosedError(SECRET)],
  [500, new CommitUnknownError(SECRET, CAUSE)],
  [500, new ConfigurationError(SECRET)],
  [500, new DatabaseError(SECRET, CAUSE)],
  [500, new TypeError(SECRET)],
  [500, Object.assign(new Error(SECRET), { status: 200 })],
  [500, Object.assign(new Error(SECRET), { status: 502.5 })],
  [502, Object.assign(new Error(SECRET), { status: 502 })],
  [404, Object.assign(new Error(SECRET), { status: 404 })],
  [500, SECRET],
])('problems() answers %d to %p, without internals', async (status, error) => {
  const { body, headers, text, statusCode } = await thrown(error)
  expect(statusCode).toBe(status)
  expect(headers['content-type']).toBe('application/problem+json; charset=utf-8')
  expect(headers['cache-control']).toBe('no-store')
  expect(body).toEqual({
    type: 'about:blank',
    title: expect.stringMatching(/^\w/),
    status,
    detail: expect.stringMatching(/^\w.*\.$/),
  })
  expect(text).not.toMatch(/hunter2|hush|vault|select|node_modules|\.ts/)
  expect(logged).toEqual(status >= 500 ? [error] : [])
  const mayRetry = status === 503
  expect((headers as Record<string, string>)['retry-after']).toBe(mayRetry ? '1' : undefined)
})

it('problems() answers that the outcome is unknown for a CommitUnknownError', async () => {
  const { body } = await thrown(new CommitUnknownError(SECRET, CAUSE))
  expect(body).toHaveProperty('detail', expect.stringContaining('may have been done'))
})

it('problems() answers with the status and fields of an HttpProblem', async () => {
  const errors = [{ loc: ['body', 'amount'], msg: 'Required' }]
  const problem = new HttpProblem(422, 'Not like this', {
    type: 'https://example.org/problems/amount',
    title: 'Bad amount',
    errors,
    headers: { 'Retry-After': '7' },
  })
  const { body, headers, statusCode } = await thrown(problem)
  expect(statusCode).toBe(422)
  expect(headers).toHaveProperty('retry-after', '7')
  expect(body).toEqual({
    type: 'https://example.org/problems/amount',
    title: 'Bad amount',
    status: 422,
    detail: 'Not like this',
    errors,
  })
  expect(logged).toEqual([])
})

it('problems() removes the headers of the response that was not sent', async () => {
  const { headers } = await answerOf((_request, response) => {
    response.set({ Location: '/users/1', Link: '</x>; rel="next"', ETag: '"1"', 'X-Kept': 'yes' })
    throw new HttpProblem(409, 'No')
  })
  expect(headers).not.toHaveProperty('location')
  expect(headers).not.toHaveProperty('link')
  expect(headers['etag']).not.toBe('"1"')
  expect(headers).toHaveProperty('x-kept', 'yes')
})

it('problems() answers a rejected promise like a thrown error', async () => {
  const { statusCode } = await answerOf(() => Promise.reject(new HttpProblem(418, 'Short and stout')))
  expect(statusCode).toBe(418)
})

it('problems() closes the connection when part of the response was sent', async () => {
  const answer = answerOf((_request, response) => {
    response.write('half')
    throw new Error('too late')
  })
  await expect(answer).rejects.toThrow(/aborted|hang up/)
  expect(logged).toEqual([new Error('too late')])
})

it('problems() does not change a response that was complete before the error', async () => {
  const { statusCode, body } = await answerOf((_request, response) => {
    response.json({ ok: true })
    throw new Error('afterwards')
  })
  expect(statusCode).toBe(200)
  expect(body).toEqual({ ok: true })
  await waitFor(() => logged.length === 1)
})

it('problems() sends and logs nothing when a query was cancelled because the client disconnected', async () => {
  let handled = false
  const app = express()
  app.get('/', async (_request, response) => {
    await new Promise((resolve) => response.once('close', resolve))
    handled = true
    throw new QueryCanceledError('the client is gone', SQL)
  })
  app.use(problems({ onError: (error) => void logged.push(error) }))
  serving = await serveQuietly(app)
  const gone = new AbortController()
  const answer = fetch(serving.url, { signal: gone.signal })
  setTimeout(() => gone.abort(), 20)
  await expect(answer).rejects.toThrow('aborted')
  await waitFor(() => handled)
  await serving.close()
  expect(logged).toEqual([])
})

describe('problems() for errors of body-parser and Express', () => {
  it.each([
    ['JSON that is none', '{"a": x}', 'application/json', 400, 'The body is not valid JSON'],
    ['a lone string', '"text"', 'application/json', 400, 'The body is not valid JSON'],
    [
      'too much',
      `{"a": "${'x'.repeat(2000)}"}`,
      'application/json',
      413,
      'The body is larger than 1024 bytes.',
    ],
    [
      'another charset',
      '{}',
      'application/json; charset=latin1',
      415,
      'The charset of the body is not supported.',
    ],
  ])('names the mistake in %s', async (_what, text, type, status, detail) => {
    const url = await serveHandler(() => {})
    const { body, statusCode } = await request(url).post('/').set('Content-Type', type).send(text)
    expect(statusCode).toBe(status)
    expect((body as { detail: string }).detail).toMatch(detail)
  })

  it('answers 415 to an unknown encoding', async () => {
    const url = await serveHandler(() => {})
    const { body, statusCode } = await request(url)
      .post('/')
      .set({ 'Content-Type': 'application/json', 'Content-Encoding': 'zip' })
      .send('{}')
    expect(statusCode).toBe(415)
    expect(body).toHaveProperty('detail', 'The Content-Encoding of the body is not supported.')
  })

  it('answers 400 to a path that cannot be decoded', async () => {
    const app = express()
    app.get('/:id', (_request, response) => {
      response.json({})
    })
    app.use(problems())
    serving = await serveQuietly(app)
    const { body, statusCode } = await request(serving.url).get('/%E0%A4%A')
    expect(statusCode).toBe(400)
    expect(body).toHaveProperty('detail', 'The address is not valid: a % in it starts no percent-code.')
  })
})

describe('problems() for paths and methods', () => {
  beforeEach(async () => {
    const app = express()
    app
      .route('/things')
      .get((_request, response) => {
        response.json([])
      })
      .all(methodNotAllowed('GET'))
    app.use(notFound(), problems())
    serving = await serveQuietly(app)
  })

  it('answers 404 to an unknown path', async () => {
    const { body } = await request(serving.url).get('/nothing').expect(404)
    expect(body).toMatchObject({ title: 'Not Found', detail: 'There is nothing at this address.' })
  })

  it('answers 405 with Allow to a method that a path does not have', async () => {
    const { body, headers } = await request(serving.url).delete('/things').expect(405)
    expect(headers).toHaveProperty('allow', 'GET, HEAD, OPTIONS')
    expect(body).toMatchObject({ title: 'Method Not Allowed' })
  })

  it('answers OPTIONS with the methods, and HEAD like GET without a body', async () => {
    const { headers } = await request(serving.url).options('/things').expect(204)
    expect(headers).toHaveProperty('allow', 'GET, HEAD, OPTIONS')
    const head = await request(serving.url).head('/things').expect(200)
    expect(head.text).toBeUndefined()
  })
})
