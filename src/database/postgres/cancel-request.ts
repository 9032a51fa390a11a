/** Asks PostgreSQL to stop what a connection runs: a request over a connection of its own, as the protocol has it. */
import { connect as connectSocket } from 'node:net'
import { connect as connectTls, type ConnectionOptions } from 'node:tls'
import { identityOf } from './tls'

/** What the request is made of: where the server is, and whom it is to stop. */
export interface CancelTarget {
  readonly host: string
  readonly port: number
  readonly processID: number
  readonly secretKey: number | Buffer
  readonly ssl: boolean | object
}

const PATIENCE_MILLIS = 2000

/**
 * Sends a CancelRequest and waits until the server has hung up: from then on it can no longer hit a later
 * statement. https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-CANCELING-REQUESTS
 */
export async function requestCancel({ host, port, processID, secretKey, ssl }: CancelTarget): Promise<void> {
  const secret = Buffer.isBuffer(secretKey) ? secretKey : int32(secretKey)
  const request = Buffer.concat([int32(12 + secret.length), int32(80_877_102), int32(processID), secret])
  await new Promise<void>((resolve, reject) => {
    const socket = host.startsWith('/')
      ? connectSocket(`${host}/.s.PGSQL.${port}`)
      : connectSocket(port, host)
    socket.setTimeout(PATIENCE_MILLIS, () => socket.destroy(new Error('The cancel request got no answer.')))
    socket.on('error', reject)
    socket.once('close', () => {
      resolve()
    })
    socket.once('connect', () => {
      if (ssl === false || ssl === undefined) {
        socket.end(request)
        return
      }
      // The server answers one byte to an SSLRequest, and TLS begins.
      socket.write(Buffer.concat([int32(8), int32(80_877_103)]))
      socket.once('data', (answer) => {
        // More than that one byte would be somebody's who writes into the connection before it is encrypted.
        if (answer.toString('latin1') !== 'S') {
          socket.destroy(new Error('The server refuses to take the cancel request by TLS.'))
          return
        }
        // pg hides the key from those who list the members.
        const { key } = ssl as ConnectionOptions
        const options = { ...(ssl as object), ...(key !== undefined && { key }), ...identityOf(host), socket }
        const secure = connectTls(options, () => secure.end(request))
        secure.on('error', reject)
      })
    })
  })
}

function int32(value: number): Buffer {
  const buffer = Buffer.alloc(4)
  buffer.writeInt32BE(value)
  return buffer
}
