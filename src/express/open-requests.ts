/** Tracks the open connections and requests of one HTTP server, so that it can close without cutting an answer off. */
import type { Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { setImmediate } from 'node:timers/promises'
import { settlesWithin } from './shutdown-step'
import type { RequestScope } from './request-scope'
import { answerTimeout, StallDetector } from './stalled-requests'

/** How often a shutdown looks for connections to close. */
const POLL_MILLIS = 20

export interface CloseOptions {
  /** How long a connection has to be quiet before it is closed. */
  readonly keepAliveGraceMillis: number
  /** Called for each request that was given up because the rest of its body did not come. */
  readonly onGivenUp: (label: string) => void
}

/** A request whose answer is not complete. */
interface OpenRequest {
  readonly response: ServerResponse
  readonly scope: RequestScope
}

export class OpenRequests {
  readonly #server: Server
  readonly #connections = new Map<Socket, ClientConnection>()
  /** Responses to pipelined requests that wait for an earlier answer on their connection. */
  readonly #pipelined = new Set<ServerResponse>()
  #drainingSince: number | null = null
  #onEmpty: () => void = () => {}

  constructor(server: Server) {
    this.#server = server
    server.on('connection', (socket: Socket) => {
      this.#connections.set(socket, new ClientConnection(socket))
      socket.once('close', () => {
        this.#connections.delete(socket)
        // Node emits `close` only on the first response of the queue.
        for (const response of this.#pipelined) if (response.req.socket === socket) response.emit('close')
        if (this.#connections.size === 0) this.#onEmpty()
      })
    })
  }

  /** How many requests have no complete answer yet. */
  get requests(): number {
    let count = 0
    for (const { requests } of this.#connections.values()) count += requests.length
    return count
  }

  /** Adds a request. Returns false if it must not be handled: an earlier answer has announced the connection's end. */
  add(scope: RequestScope, response: ServerResponse): boolean {
    const { socket } = response.req
    // Only a request made by hand, in a test, has a connection that is not known.
    const connection = this.#connections.get(socket) ?? new ClientConnection(socket)
    if (this.#drainingSince !== null && !connection.announceEndWith(response)) return false
    const request = { response, scope }
    connection.begin(request)
    if (response.socket === null) this.#pipelined.add(response)
    response.once('close', () => {
      this.#pipelined.delete(response)
      connection.finish(request)
    })
    return true
  }

  /** Has the last answer of each connection end it from now on, so that clients send their next request elsewhere. */
  drain(): void {
    this.#drainingSince ??= performance.now()
    for (const connection of this.#connections.values()) connection.announceEnd()
  }

  /**
   * Stops accepting connections, and resolves when every request has got its answer and every connection is closed.
   *
   * A request may be on its way on a connection that is kept alive. Such a connection ends with the answer to that request,
   * or when nothing has come for `keepAliveGraceMillis`.
   */
  async close({ keepAliveGraceMillis, onGivenUp }: CloseOptions): Promise<void> {
    this.drain()
    // Lets Node accept clients that have connected by now, and read data that has arrived by now.
    await setImmediate()
    this.#stopListening()
    await setImmediate()
    const stalls = new StallDetector()
    const empty = new Promise<void>((resolve) => (this.#onEmpty = resolve))
    while (this.#connections.size > 0) {
      for (const connection of this.#connections.values()) {
        if (connection.quietMillis(this.#drainingSince ?? 0) >= keepAliveGraceMillis) connection.close()
      }
      for (const { response, scope } of this.#allOpenRequests()) {
        if (!stalls.isStalled(response)) continue
        onGivenUp(scope.label)
        answerTimeout(response)
      }
      await settlesWithin(empty, POLL_MILLIS)
    }
  }

  /** Describes requests without a complete answer, oldest first, such as `POST /transfer for 30.1 s`. */
  unanswered(): string[] {
    return this.#allOpenRequests()
      .map(({ scope }) => scope)
      .toSorted((a, b) => b.ageMillis - a.ageMillis)
      .map((scope) => `${scope.label} for ${(scope.ageMillis / 1000).toFixed(1)} s`)
  }

  #allOpenRequests(): OpenRequest[] {
    return [...this.#connections.values()].flatMap(({ requests }) => requests)
  }

  /** Destroys every connection, and aborts the scopes of its requests. */
  destroy(): void {
    for (const { scope } of this.#allOpenRequests())
      scope.abort(new Error('The server has shut down before the request was answered.'))
    for (const socket of this.#connections.keys()) socket.destroy()
  }

  #stopListening(): void {
    // close() would close idle connections at once, and lose requests that are on their way.
    this.#server.closeIdleConnections = () => {}
    try {
      this.#server.close()
    } finally {
      Reflect.deleteProperty(this.#server, 'closeIdleConnections')
    }
  }
}

/** One connection, its open requests, and since when nothing has come on it. */
class ClientConnection {
  /** Per connection, because V8 keeps entries of one large, often changed Map in memory for long. */
  readonly requests: OpenRequest[] = []
  readonly #socket: Socket
  /** The response to the latest request, until it is sent; kept for good if it announces the end of the connection. */
  #latestResponse: ServerResponse | null = null
  #quietSince = performance.now()
  #bytesSeen = 0

  constructor(socket: Socket) {
    this.#socket = socket
  }

  begin(request: OpenRequest): void {
    this.#latestResponse = request.response
    this.requests.push(request)
  }

  finish(request: OpenRequest): void {
    const { response } = request
    if (this.#latestResponse === response && response.shouldKeepAlive) this.#latestResponse = null
    this.requests.splice(this.requests.indexOf(request), 1)
    this.#noteActivity()
  }

  /** Has the latest response announce the end of the connection, if its headers are not sent yet. */
  announceEnd(): void {
    if (this.#latestResponse !== null && !this.#latestResponse.headersSent)
      this.#latestResponse.shouldKeepAlive = false
  }

  /** Has this response announce the end instead of the one before; returns false if that one has sent it already. */
  announceEndWith(response: ServerResponse): boolean {
    if (this.#latestResponse?.shouldKeepAlive === false) {
      if (this.#latestResponse.headersSent) return false
      this.#latestResponse.shouldKeepAlive = true
    }
    response.shouldKeepAlive = false
    return true
  }

  /** Returns for how long since `start` nothing has come; -1 while an answer is due. Counts bytes, since a head may come in pieces. */
  quietMillis(start: number): number {
    if (this.requests.length > 0) return -1
    if (this.#socket.bytesRead !== this.#bytesSeen) this.#noteActivity()
    return performance.now() - Math.max(this.#quietSince, start)
  }

  close(): void {
    this.#socket.destroySoon()
  }

  #noteActivity(): void {
    this.#bytesSeen = this.#socket.bytesRead
    this.#quietSince = performance.now()
  }
}
