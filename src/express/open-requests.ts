/** The connections and requests of one HTTP server, known so that it can end without cutting an answer off. */
import type { Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { setImmediate } from 'node:timers/promises'
import { settles } from './shutdown-step'
import type { OpenScope } from './request-scope'
import { giveUp, StallWatch } from './stalled-requests'

/** How often a shutdown looks for connections that it may close. */
const LOOK_MILLIS = 20

export interface TrafficEnd {
  /** How long a connection is quiet before it is closed. */
  readonly keepAliveGraceMillis: number
  /** Told of each request that was given up because the rest of its body did not come. */
  readonly onGivenUp: (label: string) => void
}

/** A request that waits for the end of its answer. */
interface Received {
  readonly response: ServerResponse
  readonly scope: OpenScope
}

export class Traffic {
  readonly #server: Server
  readonly #clients = new Map<Socket, Client>()
  /** Answers to pipelined requests that wait behind an earlier answer on their connection. */
  readonly #queued = new Set<ServerResponse>()
  #drainingSince: number | null = null
  #onEmpty: () => void = () => {}

  constructor(server: Server) {
    this.#server = server
    server.on('connection', (socket: Socket) => {
      this.#clients.set(socket, new Client(socket))
      socket.once('close', () => {
        this.#clients.delete(socket)
        // Node tells only the answer at the head of the queue that its connection is gone.
        for (const response of this.#queued) if (response.req.socket === socket) response.emit('close')
        if (this.#clients.size === 0) this.#onEmpty()
      })
    })
  }

  /** How many requests wait for the end of their answer. */
  get requests(): number {
    let count = 0
    for (const { received } of this.#clients.values()) count += received.length
    return count
  }

  /** False for a request that must not be begun: an answer before it has told its client that no other will follow. */
  enter(scope: OpenScope, response: ServerResponse): boolean {
    const { socket } = response.req
    // Each connection is known before its first request; one made by hand has nobody to wait for it.
    const client = this.#clients.get(socket) ?? new Client(socket)
    if (this.#drainingSince !== null && !client.endWith(response)) return false
    const received = { response, scope }
    client.begin(received)
    if (response.socket === null) this.#queued.add(response)
    response.once('close', () => {
      this.#queued.delete(response)
      client.finish(received)
    })
    return true
  }

  /** From now on the last answer ends its connection, so that clients go elsewhere with their next request. */
  drain(): void {
    this.#drainingSince ??= performance.now()
    for (const client of this.#clients.values()) client.end()
  }

  /**
   * Stops accepting connections, and resolves when every request has got its answer and every connection is closed.
   *
   * A connection that is kept alive may have a request on its way to us. It is closed by the answer to that, which
   * says so, or else when nothing has come for a while.
   */
  async close({ keepAliveGraceMillis, onGivenUp }: TrafficEnd): Promise<void> {
    this.drain()
    // Whoever has connected by now is let in, and what has arrived by now is read.
    await setImmediate()
    this.#stopListening()
    await setImmediate()
    const stalls = new StallWatch()
    const empty = new Promise<void>((resolve) => (this.#onEmpty = resolve))
    while (this.#clients.size > 0) {
      for (const client of this.#clients.values()) {
        if (client.quietMillis(this.#drainingSince ?? 0) >= keepAliveGraceMillis) client.close()
      }
      for (const { response, scope } of this.#received()) {
        if (!stalls.isStalled(response)) continue
        onGivenUp(scope.label)
        giveUp(response)
      }
      await settles(empty, LOOK_MILLIS)
    }
  }

  /** What still waits for its answer, longest first, such as `POST /transfer for 30.1 s`. */
  unanswered(): string[] {
    return this.#received()
      .map(({ scope }) => scope)
      .toSorted((a, b) => b.ageMillis - a.ageMillis)
      .map((scope) => `${scope.label} for ${(scope.ageMillis / 1000).toFixed(1)} s`)
  }

  #received(): Received[] {
    return [...this.#clients.values()].flatMap(({ received }) => received)
  }

  /** Cuts every connection, and calls off what is still done for it. */
  destroy(): void {
    for (const { scope } of this.#received())
      scope.abort(new Error('The server has shut down before the request was answered.'))
    for (const socket of this.#clients.keys()) socket.destroy()
  }

  #stopListening(): void {
    // close() would cut idle connections at once, and with them the requests that are on their way.
    this.#server.closeIdleConnections = () => {}
    try {
      this.#server.close()
    } finally {
      Reflect.deleteProperty(this.#server, 'closeIdleConnections')
    }
  }
}

/** One connection, and since when nothing has come on it. */
class Client {
  /** Here, and not in one Map of all connections' requests: what was in one that changes that often V8 keeps for long. */
  readonly received: Received[] = []
  readonly #socket: Socket
  /** The answer to what was asked for last, until it is sent; for good if it says that the connection ends. */
  #last: ServerResponse | null = null
  #quietSince = performance.now()
  #bytesSeen = 0

  constructor(socket: Socket) {
    this.#socket = socket
  }

  begin(received: Received): void {
    this.#last = received.response
    this.received.push(received)
  }

  finish(received: Received): void {
    const { response } = received
    if (this.#last === response && response.shouldKeepAlive) this.#last = null
    this.received.splice(this.received.indexOf(received), 1)
    this.#heard()
  }

  /** Has the last answer say that the connection ends, if it can still say so. */
  end(): void {
    if (this.#last !== null && !this.#last.headersSent) this.#last.shouldKeepAlive = false
  }

  /** Has this answer say so instead of the one before it; false if that has said it. */
  endWith(response: ServerResponse): boolean {
    if (this.#last?.shouldKeepAlive === false) {
      if (this.#last.headersSent) return false
      this.#last.shouldKeepAlive = true
    }
    response.shouldKeepAlive = false
    return true
  }

  /** How long nothing has come since `start`; negative while an answer is due. A head may come in pieces. */
  quietMillis(start: number): number {
    if (this.received.length > 0) return -1
    if (this.#socket.bytesRead !== this.#bytesSeen) this.#heard()
    return performance.now() - Math.max(this.#quietSince, start)
  }

  close(): void {
    this.#socket.destroySoon()
  }

  #heard(): void {
    this.#bytesSeen = this.#socket.bytesRead
    this.#quietSince = performance.now()
  }
}
