/** PostgreSQL's cancel request: stops the statement of one connection through a second, short-lived one. */
import { connect as connectSocket } from 'node:net'
import { connect as connectTls, type ConnectionOptions } from 'node:tls'
import { ANSWER_TIMEOUT_MILLIS } from './pg-client'
import { serverIdentity } from './tls'

/** Where the server is, and the key of the server process whose statement is to be stopped. */
export interface CancelTarget {
  readonly host: string
  readonly port: number
  readonly processID: number
  readonly secretKey: number | Buffer
  readonly ssl: boolean | object
}

/** How often a request is repeated while the statement still runs. */
export const CANCEL_EVERY_MILLIS = 50

/**
 * Sends a CancelRequest and resolves when the server has closed the connection: from then on the request can no longer
 * stop a later statement. The client's side stays open until then: PgBouncer 1.18 dies of a cancel request whose socket
 * is half closed. https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-CANCELING-REQUESTS
 */
export async function requestCancel({ host, port, processID, secretKey, ssl }: CancelTarget): Promise<void> {
  const secret = Buffer.isBuffer(secretKey) ? secretKey : int32(secretKey)
  const request = Buffer.concat([int32(12 + secret.length), int32(80_877_102), int32(processID), secret])
  await new Promise<void>((resolve, reject) => {
    const socket = host.startsWith('/')
      ? connectSocket(`${host}/.s.PGSQL.${port}`)
      : connectSocket(port, host)
    socket.setTimeout(ANSWER_TIMEOUT_MILLIS, () =>
      socket.destroy(new Error('The cancel request got no answer.')),
    )
    socket.on('error', reject)
    socket.once('close', () => {
      resolve()
    })
    socket.once('connect', () => {
      if (ssl === false || ssl === undefined) {
        socket.write(request)
        return
      }
      // The server answers an SSLRequest with one byte, then TLS begins.
      socket.write(Buffer.concat([int32(8), int32(80_877_103)]))
      socket.once('data', (answer) => {
        // More than one byte means that an attacker writes into the connection before it is encrypted.
        if (answer.toString('latin1') !== 'S') {
          socket.destroy(new Error('The server refuses to take the cancel request by TLS.'))
          return
        }
        // pg makes `key` non-enumerable, so that the spread below leaves it out.
        const { key } = ssl as ConnectionOptions
        const options = {
          ...(ssl as object),
          ...(key !== undefined && { key }),
          ...serverIdentity(host),
          socket,
        }
        const secure = connectTls(options, () => secure.write(request))
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
