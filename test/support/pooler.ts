/**
 * A proxy that looks like a pooler such as PgBouncer: it has process ids of its own, and applies the settings of a
 * client's start-up message by itself.
 */
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { freePort } from './free-port'

/** The message that tells a client whom it talks to: https://www.postgresql.org/docs/current/protocol-message-formats.html */
const BACKEND_KEY_DATA = 'K'
const COMMAND_COMPLETE = 'C'
const READY_FOR_QUERY = 'Z'
const OTHER_PROCESS = 42

/** Starts a pooler in front of a server. It shares no server process between clients, which clients cannot see. */
export async function startPooler(targetUrl: string): Promise<AsyncDisposable & { readonly url: string }> {
  const target = new URL(targetUrl)
  const sockets = new Set<Socket>()
  const server = createServer((client) => {
    const upstream = connect(Number(target.port), target.hostname)
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.on('error', () => undefined)
      socket.on('close', () => {
        sockets.delete(socket)
        client.destroy()
        upstream.destroy()
      })
    }
    let isStarted = false
    let heard: Buffer = Buffer.alloc(0)
    let name = ''
    client.once('data', (startup: Buffer) => {
      name = /application_name\0([^\0]*)\0/.exec(startup.toString('latin1'))?.[1] ?? ''
      upstream.write(withoutName(startup))
      client.pipe(upstream)
    })
    upstream.on('data', (chunk: Buffer) => {
      if (isStarted) {
        client.write(chunk)
        return
      }
      heard = Buffer.concat([heard, chunk])
      for (let size = sizeOf(heard); size > 0; size = sizeOf(heard)) {
        const message = heard.subarray(0, size)
        heard = heard.subarray(size)
        const type = message.toString('latin1', 0, 1)
        if (type === READY_FOR_QUERY && name !== '') {
          upstream.write(query(`SET application_name = '${name.replaceAll("'", "''")}'`))
          name = ''
        } else if (type !== COMMAND_COMPLETE) {
          if (type === BACKEND_KEY_DATA) message.writeInt32BE(OTHER_PROCESS, 5)
          client.write(message)
          isStarted ||= type === READY_FOR_QUERY
        }
      }
      if (isStarted) client.write(heard)
    })
  })
  const port = await freePort()
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  const url = new URL(target)
  url.hostname = '127.0.0.1'
  url.port = String(port)
  return {
    url: url.href,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

/** How long the first message is, or 0 while it has not come as a whole. */
function sizeOf(messages: Buffer): number {
  const size = messages.length < 5 ? Infinity : 1 + messages.readInt32BE(1)
  return size <= messages.length ? size : 0
}

function withoutName(startup: Buffer): Buffer {
  const rest = startup.toString('latin1').replace(/application_name\0[^\0]*\0/, '')
  const message = Buffer.from(rest, 'latin1')
  message.writeInt32BE(message.length, 0)
  return message
}

function query(sql: string): Buffer {
  const message = Buffer.from(`Q0000${sql}\0`)
  message.writeInt32BE(message.length - 1, 1)
  return message
}
