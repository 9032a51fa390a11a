/** What a pooler such as PgBouncer looks like to its clients: it has numbers of its own for the processes of the server. */
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { freePort } from './free-port'

/** The message that tells a client whom it talks to: https://www.postgresql.org/docs/current/protocol-message-formats.html */
const BACKEND_KEY_DATA = 'K'
const OTHER_PROCESS = 42

/** Starts one in front of a server. It lends no process to two clients, which nobody can tell from outside. */
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
    client.pipe(upstream)
    let start: Buffer | null = Buffer.alloc(0)
    upstream.on('data', (chunk: Buffer) => {
      start = start === null ? null : Buffer.concat([start, chunk])
      if (start === null) {
        client.write(chunk)
      } else if (renumber(start)) {
        client.write(start)
        start = null
      }
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

/** Puts another process' number into the first messages of the server; false while it has not sent that yet. */
function renumber(messages: Buffer): boolean {
  for (let at = 0; at + 9 <= messages.length; at += 1 + messages.readInt32BE(at + 1)) {
    if (messages.toString('latin1', at, at + 1) !== BACKEND_KEY_DATA) continue
    messages.writeInt32BE(OTHER_PROCESS, at + 5)
    return true
  }
  return false
}
