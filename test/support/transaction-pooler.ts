/**
 * A pooler that lends the server's processes by the transaction, as PgBouncer does in that mode: what a client sets in one may
 * hit another. At a cancel request whose socket is half closed it ends, as PgBouncer 1.18 does.
 */
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { freePort } from './free-port'

const CANCEL_REQUEST = 80_877_102
const SSL_REQUEST = 80_877_103
/** Each of these messages of a client is answered by one ReadyForQuery: Query, Sync, FunctionCall. */
const ANSWERED = new Set(['Q', 'S', 'F'])
/** How long a cancel request is under way to the server at least. */
const CANCEL_MILLIS = 20

interface Message {
  readonly type: string
  readonly bytes: Buffer
}

/** Cuts what arrives into messages. */
class Messages {
  #rest: Buffer = Buffer.alloc(0)

  add(chunk: Buffer): Message[] {
    this.#rest = Buffer.concat([this.#rest, chunk])
    const found: Message[] = []
    while (this.#rest.length >= 5) {
      const size = 1 + this.#rest.readInt32BE(1)
      if (this.#rest.length < size) break
      found.push({ type: this.#rest.toString('latin1', 0, 1), bytes: this.#rest.subarray(0, size) })
      this.#rest = this.#rest.subarray(size)
    }
    return found
  }
}

/** A process of the server. */
class ServerProcess {
  readonly socket: Socket
  /** What a client is told at its start. */
  greeting: Buffer = Buffer.alloc(0)
  key: Buffer = Buffer.alloc(0)
  client: Client | null = null
  readonly #messages = new Messages()

  constructor(pooler: TransactionPooler) {
    this.socket = connect(pooler.targetPort, '127.0.0.1', () => this.socket.write(pooler.startup))
    this.socket.on('error', () => undefined)
    this.socket.on('close', () => {
      this.client?.socket.destroy()
      pooler.replace(this)
    })
    this.socket.on('data', (chunk: Buffer) => {
      for (const { type, bytes } of this.#messages.add(chunk)) {
        if (this.key.length === 0) {
          if (type === 'S') this.greeting = Buffer.concat([this.greeting, bytes])
          if (type === 'K') this.key = bytes.subarray(5)
          continue
        }
        const { client } = this
        if (client !== null) client.receive(type, bytes)
        else if (type === 'Z') pooler.free(this)
      }
    })
  }
}

/** A client, which has a process from the first message of a transaction to its end. */
class Client {
  readonly socket: Socket
  server: ServerProcess | null = null
  readonly #pooler: TransactionPooler
  readonly #messages = new Messages()
  #pending: Buffer[] = []
  /** ReadyForQuery messages still expected. */
  #unanswered = 0

  constructor(socket: Socket, pooler: TransactionPooler) {
    this.socket = socket
    this.#pooler = pooler
    // A transaction that is left open goes with its process.
    socket.on('close', () => this.server?.socket.destroy())
  }

  send(chunk: Buffer): void {
    for (const { type, bytes } of this.#messages.add(chunk)) {
      if (type === 'X') {
        this.socket.end()
        return
      }
      if (ANSWERED.has(type)) this.#unanswered += 1
      if (this.server === null) this.#pending.push(bytes)
      else this.server.socket.write(bytes)
    }
    if (this.#pending.length > 0) this.#pooler.wait(this)
  }

  attach(server: ServerProcess): void {
    this.server = server
    server.client = this
    for (const bytes of this.#pending.splice(0)) server.socket.write(bytes)
  }

  receive(type: string, bytes: Buffer): void {
    this.socket.write(bytes)
    if (type !== 'Z') return
    this.#unanswered -= 1
    const { server } = this
    if (this.#unanswered > 0 || bytes.toString('latin1', 5) !== 'I' || server === null) return
    this.server = null
    server.client = null
    this.#pooler.free(server)
  }
}

class TransactionPooler {
  readonly targetPort: number
  readonly startup: Buffer
  hasDied = false
  readonly #sockets = new Set<Socket>()
  readonly #free: ServerProcess[] = []
  readonly #waiting = new Set<Client>()
  readonly #clients: Client[] = []
  #isClosed = false

  constructor(target: URL, processes: number) {
    this.targetPort = Number(target.port)
    const parameters = `user\0${target.username}\0database\0${target.pathname.slice(1)}\0\0`
    this.startup = Buffer.concat([int32(8 + parameters.length), int32(196_608), Buffer.from(parameters)])
    for (let i = 0; i < processes; i += 1) this.#open()
  }

  #open(): void {
    this.#sockets.add(new ServerProcess(this).socket)
  }

  replace(server: ServerProcess): void {
    const at = this.#free.indexOf(server)
    if (at >= 0) this.#free.splice(at, 1)
    if (!this.#isClosed) this.#open()
  }

  /** Lends a process to the client that has waited longest. The process that was used longest ago is lent first. */
  free(server: ServerProcess): void {
    this.#free.push(server)
    const [client] = this.#waiting
    if (client !== undefined) this.wait(client)
  }

  wait(client: Client): void {
    this.#waiting.add(client)
    const server = this.#free.shift()
    if (server === undefined) return
    this.#waiting.delete(client)
    client.attach(server)
  }

  accept(socket: Socket): void {
    this.#sockets.add(socket)
    socket.on('error', () => undefined)
    const start = (first: Buffer): void => {
      const code = first.readInt32BE(4)
      if (code === SSL_REQUEST) {
        socket.write('N')
        socket.once('data', start)
      } else if (code === CANCEL_REQUEST) this.#cancel(socket, first.readInt32BE(8))
      else this.#greet(socket)
    }
    socket.once('data', start)
  }

  #greet(socket: Socket): void {
    const [server] = this.#free
    const client = new Client(socket, this)
    this.#clients.push(client)
    socket.on('data', (chunk: Buffer) => client.send(chunk))
    const key = Buffer.concat([Buffer.from('K'), int32(12), int32(this.#clients.length), int32(0)])
    const ready = Buffer.concat([Buffer.from('Z'), int32(5), Buffer.from('I')])
    const authenticated = Buffer.concat([Buffer.from('R'), int32(8), int32(0)])
    socket.write(Buffer.concat([authenticated, server?.greeting ?? Buffer.alloc(0), key, ready]))
  }

  #cancel(socket: Socket, number: number): void {
    socket.on('end', () => {
      this.hasDied = true
      this.close()
    })
    const key = this.#clients[number - 1]?.server?.key ?? Buffer.alloc(8)
    const request = Buffer.concat([int32(8 + key.length), int32(CANCEL_REQUEST), key])
    const upstream = connect(this.targetPort, '127.0.0.1', () => upstream.write(request))
    upstream.on('error', () => undefined)
    upstream.on('close', () => {
      setTimeout(() => {
        socket.removeAllListeners('end')
        socket.end()
      }, CANCEL_MILLIS)
    })
  }

  close(): void {
    this.#isClosed = true
    for (const socket of this.#sockets) socket.destroy()
  }
}

function int32(value: number): Buffer {
  const buffer = Buffer.alloc(4)
  buffer.writeInt32BE(value)
  return buffer
}

/** Starts one in front of a server that asks for no password. `processes`: how many it has to lend. */
export async function startTransactionPooler(
  targetUrl: string,
  processes = 2,
): Promise<AsyncDisposable & { readonly url: string; readonly hasDied: boolean }> {
  const target = new URL(targetUrl)
  const pooler = new TransactionPooler(target, processes)
  const server = createServer({ allowHalfOpen: true }, (socket) => pooler.accept(socket))
  const port = await freePort()
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  const url = new URL(target)
  url.hostname = '127.0.0.1'
  url.port = String(port)
  return {
    url: url.href,
    get hasDied() {
      return pooler.hasDied
    },
    async [Symbol.asyncDispose]() {
      pooler.close()
      server.close()
      await once(server, 'close')
    },
  }
}
