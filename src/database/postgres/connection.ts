/** One connection to PostgreSQL: pg's Client, its loss and its end. */
import { ConnectionError } from '../errors'
import { requestCancel } from './cancel-request'
import type { RawConnection } from './client'
import { isHangUp } from './errors'

/** How long a farewell may take. */
const PATIENCE_MILLIS = 2000

export abstract class PostgresConnection {
  readonly raw: RawConnection
  /** Settles with the statement that runs now. */
  protected running: Promise<unknown> | null = null
  #destroyed: Error | null = null

  constructor(raw: RawConnection) {
    this.raw = raw
  }

  get broken(): Error | null {
    if (this.#destroyed !== null) return this.#destroyed
    const reason = this.raw.__knex__disposed
    if (reason === undefined) return null
    return reason instanceof Error ? reason : new ConnectionError(reason)
  }

  /** The server's own reason for hanging up, in place of what pg says of a connection that is gone. */
  protected reasonFor(error: unknown): unknown {
    const { __knex__disposed: reason } = this.raw
    return isHangUp(reason) && !isHangUp(error) ? reason : error
  }

  onLost(callback: () => void): void {
    this.raw.once('end', () => {
      if (this.#destroyed === null) callback()
    })
  }

  keepProcessAlive(alive: boolean): void {
    if (alive) this.raw.ref()
    else this.raw.unref()
  }

  destroy(): void {
    // The server would go on with a long statement until it has something to say. Nothing comes after it to be hit.
    if (this.running !== null && this.broken === null) requestCancel(this.raw).catch(() => undefined)
    this.#destroyed ??= new ConnectionError('The connection was closed.')
    this.raw.connection.stream.destroy()
  }

  async close(): Promise<void> {
    this.#destroyed ??= new ConnectionError('The connection was closed.')
    const timer = setTimeout(() => this.raw.connection.stream.destroy(), PATIENCE_MILLIS)
    await this.raw.end().catch(() => undefined)
    clearTimeout(timer)
  }
}
