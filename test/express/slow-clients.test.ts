/** Clients that send a request too slowly are disconnected. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import express from 'express'
import { standingCheck } from '../support/standing-check'
import { serveQuietly } from './support'

describe('a slow client', () => {
  standingCheck()

  it.each([
    ['says nothing at all', '', 0],
    ['sends its headers byte by byte', 'GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ', 1],
    [
      'sends its body byte by byte',
      'POST / HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: 999\r\n\r\n',
      1,
    ],
  ])('that %s is disconnected in time, while others are answered', async (_what, head, drips) => {
    const app = express()
    app.use(express.text())
    app.get('/', (_request, response) => void response.send('quick'))
    const serving = await serveQuietly(app, { headersTimeoutMillis: 400, receiveTimeoutMillis: 800 })
    const sockets: Socket[] = []
    try {
      const begun = performance.now()
      for (let n = 0; n < 50; n += 1) sockets.push(connect(serving.port, '127.0.0.1'))
      const ends = sockets.map(async (socket) => {
        socket.on('error', () => undefined)
        socket.write(head)
        const dripping = setInterval(() => {
          if (drips > 0) socket.write('x')
        }, 50)
        const answer = await text(socket).catch(() => '')
        clearInterval(dripping)
        return answer
      })
      expect(await (await fetch(serving.url)).text()).toBe('quick')
      for (const answer of await Promise.all(ends)) expect(answer).toMatch(/^(HTTP\/1\.1 408 |$)/)
      expect(performance.now() - begun).toBeLessThan(10_000)
    } finally {
      for (const socket of sockets) socket.destroy()
      await Promise.all(sockets.filter((socket) => !socket.closed).map((socket) => once(socket, 'close')))
      await serving.close()
    }
  })
})
