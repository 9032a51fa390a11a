/** Finds requests whose body has stopped coming, and answers them with 408, during a shutdown. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { HttpProblem } from './http-problem'

/** How long a shutdown waits for the next bytes of a body that a handler reads. */
const STALLED_MILLIS = 2000

/** Tracks since when each body has not advanced. It has to be polled. */
export class StallDetector {
  readonly #seen = new WeakMap<ServerResponse, { readonly bytes: number; readonly since: number }>()

  isStalled(response: ServerResponse): boolean {
    if (!isWaitingForBody(response)) {
      this.#seen.delete(response)
      return false
    }
    const { bytesRead } = response.req.socket
    const seen = this.#seen.get(response)
    if (seen?.bytes === bytesRead) return performance.now() - seen.since >= STALLED_MILLIS
    this.#seen.set(response, { bytes: bytesRead, since: performance.now() })
    return false
  }
}

/**
 * Returns whether the request waits for its client: a handler reads the body, has read all that has come, and has begun no
 * answer. A body that no handler reads delays nothing, and one that is read slowly is not the client's fault.
 */
function isWaitingForBody({ headersSent, req: request, socket }: ServerResponse): boolean {
  // A response without a socket waits for an earlier answer on its connection.
  return (
    !request.complete &&
    !headersSent &&
    socket !== null &&
    isBodyRead(request) &&
    request.readableLength === 0
  )
}

function isBodyRead(request: IncomingMessage): boolean {
  return request.readableFlowing === true || request.listenerCount('readable') > 0
}

/**
 * Answers 408 and closes the connection. Writes to the socket, because middleware may have wrapped the response and handlers
 * may still write to it: to them it looks as if the client had gone away.
 */
export function answerTimeout({ socket }: ServerResponse): void {
  const problem = new HttpProblem(
    408,
    'The rest of the request did not come, and the server is shutting down.',
  )
  const body = JSON.stringify(problem)
  const head = [
    'HTTP/1.1 408 Request Timeout',
    'Content-Type: application/problem+json; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Cache-Control: no-store',
    'Connection: close',
  ]
  socket?.write(`${head.join('\r\n')}\r\n\r\n${body}`)
  socket?.destroySoon()
}
