/** Several middleware as one: they end as they would have ended one by one. */
import express, { type ErrorRequestHandler, type RequestHandler } from 'express'
import request from 'supertest'
import { inTurn } from '../../src/service/in-turn'

/** What a client is answered by those handlers, and which of them were run. */
async function answered(way: 'one by one' | 'in turn', ...handlers: RequestHandler[]): Promise<string> {
  const run: number[] = []
  const noted = handlers.map((handler, at): RequestHandler => {
    return (...args) => {
      run.push(at)
      return handler(...args)
    }
  })
  const app = express()
  if (way === 'in turn') app.use(inTurn(...noted))
  else app.use(...noted)
  app.use((_request, response) => void response.send('went on'))
  const failed: ErrorRequestHandler = (error: unknown, _request, response, _next) => {
    response.status(500).send(error instanceof Error ? error.message : String(error))
  }
  app.use(failed)
  const { status, text } = await request(app).get('/')
  return `${status} ${text}, run: ${run.join(' ')}`
}

const on: RequestHandler = (_request, _response, next) => next()
const later: RequestHandler = (_request, _response, next) => void setImmediate(next)
const boom = new Error('boom')

test.each<[string, RequestHandler[], string]>([
  ['all go on', [on, later, on], '200 went on, run: 0 1 2'],
  ['one answers', [on, (_request, response) => void response.send('done'), on], '200 done, run: 0 1'],
  ['one passes an error', [on, (_request, _response, next) => next(boom), on], '500 boom, run: 0 1'],
  [
    'one throws, after one that took its time',
    [
      later,
      () => {
        throw boom
      },
      on,
    ],
    '500 boom, run: 0 1',
  ],
  ['one rejects', [on, () => Promise.reject(boom), on], '500 boom, run: 0 1'],
  ['one is async, and goes on', [async (_request, _response, next) => next(), on], '200 went on, run: 0 1'],
  [
    'one passes nothing in other words',
    [(_request, _response, next) => next(null), on],
    '200 went on, run: 0 1',
  ],
  ['one passes route', [(_request, _response, next) => next('route'), on], '200 went on, run: 0 1'],
])('%s', async (_, handlers, expected) => {
  expect(await answered('one by one', ...handlers)).toBe(expected)
  expect(await answered('in turn', ...handlers)).toBe(expected)
})
