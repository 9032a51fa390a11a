/** Request targets in absolute form, with a scheme and a host, as clients send them to a proxy. */
import express from 'express'
import { notFound, problems } from '../../src/express'
import { standingCheck } from '../support/standing-check'
import { serveQuietly } from './support'
import { exchange } from '../service/support/raw-http'

standingCheck()

it.each([
  ['http://elsewhere.test/things/7?q=x', 200, '/things/7?q=x'],
  ['http://elsewhere.test?q=x', 200, '/?q=x'],
  ['HTTPS://elsewhere.test:443', 200, '/'],
  ['http://', 200, '/'],
  ['http://[::1/things/7', 200, '/things/7'],
  ['*', 404, 'There is nothing at this address.'],
])('a server answers the absolute target %s by its path', async (target, status, shown) => {
  const app = express()
  app.get(['/', '/things/:id'], (request, response) => {
    response.json({ detail: request.originalUrl })
  })
  app.use(notFound(), problems())
  await using serving = await serveQuietly(app)
  const bytes = Buffer.from(`GET ${target} HTTP/1.1\r\nHost: millpond.test\r\nConnection: close\r\n\r\n`)
  const { answers } = await exchange(serving.port, bytes, { methods: ['GET'], boundMillis: 5_000 })
  expect(answers).toMatchObject([{ status, body: expect.stringContaining(`"detail":"${shown}"`) as string }])
})
