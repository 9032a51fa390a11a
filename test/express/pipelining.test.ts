/** Pipelined requests on one connection while the server shuts down: those that have begun are answered in order. */
import express, { type Express } from 'express'
import { standingCheck } from '../support/standing-check'
import { waitFor } from '../support/wait-for'
import { deferred, serveQuietly } from './support'
import { Wire } from './wire'

standingCheck()

const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`

/** Answers each request with its path when its gate opens, and records the paths. */
function gated(): { app: Express; came: string[]; answered: string[]; open: (path: string) => void } {
  const came: string[] = []
  const answered: string[] = []
  const gates = new Map<string, ReturnType<typeof deferred<void>>>()
  const gateOf = (path: string): ReturnType<typeof deferred<void>> => {
    const gate = gates.get(path) ?? deferred()
    gates.set(path, gate)
    return gate
  }
  const app = express()
  app.get('/:name', async ({ path }, response) => {
    came.push(path)
    await gateOf(path).promise
    response.send(`<${path}>`)
    answered.push(path)
  })
  return { app, came, answered, open: (path) => gateOf(path).resolve() }
}

const answersOf = (wire: Wire): string[] => [...wire.text.matchAll(/<(.*?)>/g)].map(([, path = '']) => path)
const closings = (wire: Wire): number => [...wire.text.matchAll(/Connection: close/g)].length

it('a server that shuts down answers all pipelined requests, the last with Connection: close', async () => {
  const { app, came, open } = gated()
  const serving = await serveQuietly(app, { keepAliveGraceMillis: 500 })
  const wire = new Wire(serving)
  wire.socket.write(get('/one') + get('/two') + get('/three'))
  await waitFor(() => came.length === 3)
  const closed = serving.close()
  open('/three')
  open('/one')
  open('/two')
  await closed
  await wire.ended
  expect(answersOf(wire)).toEqual(['/one', '/two', '/three'])
  expect(closings(wire)).toBe(1)
  expect(wire.error).toBeNull()
})

it('a server that shuts down answers a request that is pipelined behind another', async () => {
  const { app, came, open } = gated()
  const serving = await serveQuietly(app, { keepAliveGraceMillis: 500 })
  const wire = new Wire(serving)
  wire.socket.write(get('/one'))
  await waitFor(() => came.length === 1)
  const closed = serving.close()
  wire.socket.write(get('/two'))
  await waitFor(() => came.length === 2)
  open('/one')
  open('/two')
  await closed
  await wire.ended
  expect(answersOf(wire)).toEqual(['/one', '/two'])
  expect(closings(wire)).toBe(1)
})

it('a server that shuts down does not begin a request behind a response with Connection: close', async () => {
  const { app, came, answered, open } = gated()
  const serving = await serveQuietly(app, { keepAliveGraceMillis: 500 })
  let asked = 0
  serving.server.on('request', () => (asked += 1))
  const wire = new Wire(serving)
  // The second response is complete, and waits for the first.
  wire.socket.write(get('/one') + get('/two'))
  await waitFor(() => came.length === 2)
  const closed = serving.close()
  open('/two')
  await waitFor(() => answered.length === 1)
  wire.socket.write(get('/three'))
  await waitFor(() => asked === 3)
  open('/one')
  await closed
  await wire.ended
  expect(answersOf(wire)).toEqual(['/one', '/two'])
  expect(came).toEqual(['/one', '/two'])
})
