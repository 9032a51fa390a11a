/** Requests whose body has stopped coming: found, and answered by 408, while the server shuts down. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { HttpProblem } from './http-problem'

/** How long a shutdown waits for the next piece of a body that somebody reads. */
const STALLED_MILLIS = 2000

/** Knows since when each body has not come on. It has to be asked again and again. */
export class StallWatch {
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
 * Whether it is the client's turn: somebody reads the body, all that has come of it has been read, and no answer has
 * begun. A body that nobody reads holds nothing up, and one that is read slowly is not the client's fault.
 */
function isWaitingForBody({ headersSent, req: request, socket }: ServerResponse): boolean {
  // Without a socket the answer waits behind another one on its connection.
  return (
    !request.complete && !headersSent && socket !== null && isRead(request) && request.readableLength === 0
  )
}

function isRead(request: IncomingMessage): boolean {
  return request.readableFlowing === true || request.listenerCount('readable') > 0
}

/**
 * Answers 408 and closes the connection. Written past the response, which others may have wrapped or still write to:
 * they see a client that has gone away.
 */
export function giveUp({ socket }: ServerResponse): void {
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
