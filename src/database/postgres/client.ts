/** Knex's client for PostgreSQL, which can fall back from TLS to plain or back, and can abort a connection attempt. */
import type { Socket } from 'node:net'
import knex, { type Knex } from 'knex'
import { ConnectionError } from '../errors'
import { isStringTooLong } from '../driver/driver-error'
import { isHangUp } from './errors'
import type { RawConnection } from './pg-client'
import { installRowTap } from './row-tap'
import { isTlsRefusal, moreSpecificError, requireChannelBinding, type Tls } from './tls'

// The deep import that this avoids has no types.
const Base = knex({ client: 'pg' }).client.constructor as typeof Knex.Client

/** One attempt to open a connection. `raw` is set as soon as pg's Client exists. */
interface ConnectAttempt {
  readonly signal?: AbortSignal
  raw?: RawConnection
}

export class PostgresClient extends Base {
  declare readonly driver: { readonly Client: new (settings: object) => RawConnection }
  declare connectionSettings: object
  /** Passes the attempt from `dial` to `_acquireOnlyConnection`: Knex in between passes no arguments on. */
  attempt: ConnectAttempt | undefined

  /**
   * Opens a connection.
   *
   * @throws ConnectionError when the signal is aborted first; the socket is destroyed then
   */
  async dial(signal: AbortSignal): Promise<RawConnection> {
    const attempt: ConnectAttempt = { signal }
    this.attempt = attempt
    // Knex calls `_acquireOnlyConnection` synchronously, so no other attempt can replace this one.
    const opening = this.acquireRawConnection() as Promise<RawConnection>
    this.attempt = undefined
    return destroyOnAbort(attempt, signal, opening)
  }

  /** Replaces Knex's method, which does not give access to a connection before it is open, and has no TLS fallback. */
  async _acquireOnlyConnection(): Promise<RawConnection> {
    const { attempt = {}, connectionSettings } = this
    const { fallbackSsl } = this.config as { fallbackSsl?: Tls }
    try {
      return await this.connectWith(connectionSettings, attempt)
    } catch (first) {
      if (fallbackSsl === undefined || attempt.signal?.aborted === true || !isTlsRefusal(first)) throw first
      // Not a copy: Knex makes the password non-enumerable.
      const settings = Object.create(connectionSettings, { ssl: { value: fallbackSsl } }) as object
      try {
        return await this.connectWith(settings, attempt)
      } catch (second) {
        throw moreSpecificError(
          fallbackSsl === false ? { encrypted: first, plain: second } : { encrypted: second, plain: first },
        )
      }
    }
  }

  private async connectWith(settings: object, attempt: ConnectAttempt): Promise<RawConnection> {
    const raw = new this.driver.Client(settings)
    installRowTap(raw.connection)
    if ('channelBinding' in settings && settings.channelBinding === 'require')
      requireChannelBinding(raw.connection)
    attempt.raw = raw
    // The first error has the reason; later ones are what pg reports when the socket ends.
    raw.on('error', (error) => {
      raw.__knex__disposed ??= error
    })
    // The server reports a crash or an immediate shutdown as a notice of severity WARNING.
    raw.on('notice', (notice) => {
      if (!isHangUp(notice)) return
      const { message, severity, code } = notice
      raw.__knex__disposed ??= Object.assign(new Error(message), { severity, code })
    })
    raw.on('end', () => {
      raw.__knex__disposed ??= 'Connection ended unexpectedly'
    })
    await raw.connect()
    destroyOnTooLongString(raw.connection.stream)
    return raw
  }
}

/**
 * Destroys the socket when pg's parser meets a value that is longer than a string may be. pg parses in a listener of the
 * socket, where nothing else would catch the error, and would fail again at the same message with each chunk.
 */
function destroyOnTooLongString(socket: Socket): void {
  for (const parse of socket.listeners('data') as ((chunk: Buffer) => void)[]) {
    socket.off('data', parse)
    socket.on('data', (chunk) => {
      try {
        parse(chunk)
      } catch (error) {
        if (!isStringTooLong(error)) throw error
        socket.destroy(error as Error)
      }
    })
  }
}

/** Waits for `opening`, and destroys the attempt's socket if the signal is aborted meanwhile. */
export async function destroyOnAbort<T>(
  attempt: Pick<ConnectAttempt, 'raw'>,
  signal: AbortSignal,
  opening: Promise<T>,
): Promise<T> {
  const giveUp = (): void => {
    attempt.raw?.connection.stream.destroy(new ConnectionError('it was not open in time, and was given up'))
  }
  signal.addEventListener('abort', giveUp)
  try {
    return await opening
  } finally {
    signal.removeEventListener('abort', giveUp)
  }
}
