/** The connections and requests of one HTTP server, known so that it can end without cutting an answer off. */
import type { Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { setImmediate } from 'node:timers/promises'
import type { OpenScope } from './request'

export class Traffic {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly #requests = new Map<ServerResponse, OpenScope>()
  /** Answers to pipelined requests that wait behind an earlier answer on their connection. */
  readonly #queued = new Set<ServerResponse>()
  #isDraining = false
  #onQuiet: () => void = () => {}

  constructor(server: Server) {
    this.#server = server
    server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket)
      socket.once('close', () => {
        this.#sockets.delete(socket)
        // Node tells only the answer at the head of the queue that its connection is gone.
        for (const response of this.#queued) if (response.req.socket === socket) response.emit('close')
      })
    })
  }

  /** How many requests wait for the end of their answer. */
  get requests(): number {
    return this.#requests.size
  }

  enter(scope: OpenScope, response: ServerResponse): void {
    this.#requests.set(response, scope)
    if (response.socket === null) this.#queued.add(response)
    if (this.#isDraining) response.shouldKeepAlive = false
    response.once('close', () => {
      this.#requests.delete(response)
      this.#queued.delete(response)
      if (!this.#isDraining) return
      // An answer that had begun before the drain could not say `Connection: close`; its socket is idle now.
      if (!this.#server.listening) this.#server.closeIdleConnections()
      if (this.#requests.size === 0) this.#onQuiet()
    })
  }

  /** From now on every answer ends its connection, so that clients go elsewhere with their next request. */
  drain(): void {
    this.#isDraining = true
    for (const response of this.#requests.keys()) {
      if (!response.headersSent) response.shouldKeepAlive = false
    }
  }

  /** Stops accepting connections, closes the idle ones, and resolves when every request has got its answer. */
  async close(): Promise<void> {
    this.drain()
    this.#server.close()
    do {
      if (this.#requests.size > 0) await new Promise<void>((resolve) => (this.#onQuiet = resolve))
      // A request may have come in that the server has not handed to us yet.
      await setImmediate()
    } while (this.#requests.size > 0)
    this.destroy()
  }

  /** What still waits for its answer, longest first, such as `POST /transfer for 30.1 s`. */
  unanswered(): string[] {
    const scopes = [...this.#requests.values()].toSorted((a, b) => b.ageMillis - a.ageMillis)
    return scopes.map((scope) => `${scope.label} for ${(scope.ageMillis / 1000).toFixed(1)} s`)
  }

  /** Cuts every connection. */
  destroy(): void {
    for (const socket of this.#sockets) socket.destroy()
  }
}
