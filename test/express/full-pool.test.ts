/** Responses and log lines while all connections of the pool are in use. */
import { once } from 'node:events'
import { Agent, get, type IncomingMessage } from 'node:http'
import { text } from 'node:stream/consumers'
import express from 'express'
import request from 'supertest'
import type { PoolTimeoutError } from '../../src/database'
import { problems } from '../../src/express'
import { eachDatabase } from '../support/each-database'
import { within } from '../support/exact'
import { report } from '../support/report'
import { waitFor } from '../support/wait-for'
import { deferred, serveQuietly } from './support'

const ACQUIRE_MILLIS = 300
/** How much longer than the acquire timeout a refusal may take, with a margin for a busy machine. */
const BEYOND_MILLIS = within(50, 1000)
const REFUSED = 40

interface Answer {
  readonly status: number | undefined
  readonly after: string | undefined
  readonly type: string | undefined
  readonly tookMillis: number
}

eachDatabase('a full pool', (context) => {
  it('makes each request fail in time with 503 and Retry-After, and its holders are logged by route', async () => {
    const pool = { size: 2, maxOverflow: 1, acquireTimeoutMillis: ACQUIRE_MILLIS }
    const database = await context.open({ pool })
    const gate = deferred()
    const said: string[] = []
    const app = express()
    app.get('/reports/:id', async (_request, response) => {
      await database.connection(async () => {
        await database.fetchVal('select 1')
        await gate.promise
      })
      response.json({ ok: true })
    })
    app.post('/transfer', async (_request, response) => {
      await database.transaction(async () => {
        await database.fetchVal('select 1')
        await gate.promise
      })
      response.json({ ok: true })
    })
    app.get('/users/:id', async (_request, response) => {
      response.json(await database.fetchVal('select 1'))
    })
    app.use(problems({ onError: (error) => said.push((error as PoolTimeoutError).message) }))
    await using serving = await serveQuietly(app)
    const { url } = serving
    // The connections are open already, so that the server is measured and not its client.
    const agent = new Agent({ keepAlive: true })
    const ask = async (): Promise<Answer> => {
      const began = performance.now()
      const [answer] = (await once(get(`${url}/users/1`, { agent }), 'response')) as [IncomingMessage]
      await text(answer)
      const { statusCode: status, headers } = answer
      const { 'retry-after': after, 'content-type': type } = headers
      return { status, after, type, tookMillis: performance.now() - began }
    }
    // The first requests of a process are slow, and may wait for longer than the acquire timeout.
    await waitFor(
      async () => {
        const answers = await Promise.all(Array.from({ length: REFUSED }, ask))
        return answers.every(({ status }) => status === 200)
      },
      { timeoutMillis: 20_000, what: 'a round of requests of which none waits for long' },
    )
    said.length = 0

    const held = [
      request(url).get('/reports/7'),
      request(url).get('/reports/8'),
      request(url).post('/transfer'),
    ]
    const holding = Promise.all(held.map((one) => one.expect(200)))
    await waitFor(() => database.stats().used === 3)
    const refused = await Promise.all(Array.from({ length: REFUSED }, ask))
    gate.resolve()
    await holding
    agent.destroy()
    await request(url).get('/users/1').expect(200)

    const times = refused.map(({ tookMillis }) => tookMillis - ACQUIRE_MILLIS).toSorted((a, b) => a - b)
    report(`full pool on ${context.dialect}`, {
      refused: refused.length,
      'median beyond the timeout in ms': times[Math.floor(times.length / 2)] ?? NaN,
      'slowest beyond it in ms': times.at(-1) ?? NaN,
    })
    for (const { status, after, type } of refused) {
      expect({ status, after, type }).toEqual({
        status: 503,
        after: '1',
        type: expect.stringContaining('application/problem+json') as string,
      })
    }
    expect(times.at(-1)).toBeLessThan(BEYOND_MILLIS)
    expect(said).toHaveLength(REFUSED)
    for (const message of said) {
      expect(message).toContain('GET /reports/:id')
      expect(message).toContain('POST /transfer')
    }
  })
})
