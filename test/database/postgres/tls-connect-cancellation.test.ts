/** With sslmode=prefer the second attempt, without TLS, can be cancelled like the first one. */
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { Database } from '../../../src/database'
import { standingCheck } from '../../support/standing-check'
import { waitFor } from '../../support/wait-for'
import { failure } from '../support'

/** The length of a request for TLS; a request for a session without it is longer. */
const SSL_REQUEST_BYTES = 8

describe('a server that refuses TLS and does not answer otherwise', () => {
  standingCheck()

  it('has its connection closed by disconnect(), with sslmode=prefer', async () => {
    const silent: Socket[] = []
    const server = createServer((socket) => {
      socket.once('data', (data) => {
        if (data.length === SSL_REQUEST_BYTES) socket.end('N')
        else silent.push(socket)
      })
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const url = `postgresql://ada@127.0.0.1:${port}/shop?sslmode=prefer`
    const database = new Database(url, { connectTimeoutMillis: 60_000 })
    const connecting = failure(database.connect())
    await waitFor(() => silent.length > 0, { what: 'the second attempt', timeoutMillis: 10_000 })
    await database.disconnect({ graceMillis: 0 })
    await connecting
    // Otherwise the attempt would last for the acquire timeout of half a minute.
    await waitFor(() => silent.every((socket) => socket.closed), {
      what: 'the sockets to be closed',
      timeoutMillis: 5000,
    })
    expect(silent).toHaveLength(1)
    const closed = once(server, 'close')
    server.close()
    await closed
  })
})
