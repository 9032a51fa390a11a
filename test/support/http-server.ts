/** An HTTP server on a free port of this machine, for tests that need a real one. */
import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import { freePort } from './free-port'

/**
 * Serves `handler` until closed, or disposed of.
 *
 * @example await using server = await startHttp(app)
 */
export async function startHttp(
  handler: RequestListener,
): Promise<{ readonly url: string; close(): Promise<void> } & AsyncDisposable> {
  const server = createServer(handler)
  server.listen(await freePort(), '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('The server has no TCP port')
  const close = async (): Promise<void> => {
    if (!server.listening) return
    const closed = once(server, 'close')
    server.close()
    server.closeAllConnections()
    await closed
  }
  return { url: `http://127.0.0.1:${address.port}`, close, [Symbol.asyncDispose]: close }
}
