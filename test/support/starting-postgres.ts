/** A server that answers every client like a PostgreSQL that is starting: SQLSTATE 57P03. */
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { freePort } from './free-port'

/** The fields of PostgreSQL's own message: https://www.postgresql.org/docs/current/protocol-error-fields.html */
const FIELDS = ['SFATAL', 'VFATAL', 'C57P03', 'Mthe database system is starting up']

export interface StartingPostgres {
  readonly url: string
  close(): Promise<void>
}

/** Starts one on a free port of 127.0.0.1. A real server is in this state too briefly for a test. */
export async function startStartingPostgres(): Promise<StartingPostgres> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', () => undefined)
    socket.once('data', () => socket.end(errorResponse()))
  })
  const port = await freePort()
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `postgresql://postgres@127.0.0.1:${port}/postgres`,
    async close() {
      const closed = once(server, 'close')
      server.close()
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}

function errorResponse(): Buffer {
  const body = Buffer.from(`${FIELDS.join('\0')}\0\0`)
  const head = Buffer.alloc(5)
  head.write('E')
  head.writeUInt32BE(body.length + 4, 1)
  return Buffer.concat([head, body])
}
