/** Knex's client for PostgreSQL, with connections that can be given up while they are being opened. */
import knex, { type Knex } from 'knex'
import { ConnectionError } from '../errors'
import type { RawConnection } from './postgres-session'

// The deep import that this avoids has no types.
const Base = knex({ client: 'pg' }).client.constructor as typeof Knex.Client

export class PostgresClient extends Base {
  declare readonly driver: { readonly Client: new (settings: unknown) => RawConnection }
  declare connectionSettings: object
  /** Of the connections that are being opened, the one that was begun last. */
  begun: RawConnection | undefined

  /**
   * Opens a connection.
   *
   * @throws ConnectionError when the signal is aborted first, from which moment on nothing of it is left
   */
  async dial(signal: AbortSignal): Promise<RawConnection> {
    // Knex makes it before anything else, so that this is the one.
    const opening = this.acquireRawConnection() as Promise<RawConnection>
    const { begun } = this
    const giveUp = (): void => {
      begun?.connection.stream.destroy(new ConnectionError('It was given up before it was open.'))
    }
    signal.addEventListener('abort', giveUp)
    try {
      return await opening
    } finally {
      signal.removeEventListener('abort', giveUp)
    }
  }

  /** As Knex's own, which tells nobody of a connection before it is open. */
  async _acquireOnlyConnection(): Promise<RawConnection> {
    const raw = new this.driver.Client(this.connectionSettings)
    this.begun = raw
    raw.on('error', (error) => {
      raw.__knex__disposed = error
    })
    raw.on('end', () => {
      raw.__knex__disposed ??= 'Connection ended unexpectedly'
    })
    await raw.connect()
    return raw
  }
}
