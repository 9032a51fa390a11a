/** A TCP port that nothing listens on, below the range from which the kernel takes ports for outgoing connections. */
import { once } from 'node:events'
import { createServer } from 'node:net'

const LOWEST = 20_000
/** Linux gives outgoing connections ports from 32768 on; a client retrying such a port can connect to itself. */
const HIGHEST = 32_000

/** Finds a free port on 127.0.0.1 between 20000 and 32000. */
export async function freePort(): Promise<number> {
  for (let attempt = 1; ; attempt++) {
    const port = LOWEST + Math.floor(Math.random() * (HIGHEST - LOWEST))
    const server = createServer()
    try {
      server.listen(port, '127.0.0.1')
      await once(server, 'listening')
      return port
    } catch (error) {
      if (attempt === 50) throw new Error('No free port between 20000 and 32000', { cause: error })
    } finally {
      server.close()
    }
  }
}
