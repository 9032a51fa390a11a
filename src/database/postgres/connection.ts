/** One connection to PostgreSQL: pg's Client, how its loss is noticed and how it is closed. */
import { ConnectionError } from '../errors'
import { requestCancel } from './cancel-request'
import type { RawConnection } from './client'
import { isHangUp } from './errors'

/** How long a close may wait for the server before the socket is destroyed. */
const CLOSE_TIMEOUT_MILLIS = 2000

export abstract class PostgresConnection {
  readonly raw: RawConnection
  /** Settles when the statement that runs now ends; null while nothing runs. */
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

  /** Returns the server's reason for closing the connection, if it gave one; else `error`, such as pg's "terminated". */
  protected hangUpReasonOr(error: unknown): unknown {
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
    // Without a cancel request the server would run a long statement to its end. No later statement can be hit here.
    if (this.running !== null && this.broken === null) requestCancel(this.raw).catch(() => undefined)
    this.#destroyed ??= new ConnectionError('The connection was closed.')
    this.raw.connection.stream.destroy()
  }

  async close(): Promise<void> {
    this.#destroyed ??= new ConnectionError('The connection was closed.')
    const timer = setTimeout(() => this.raw.connection.stream.destroy(), CLOSE_TIMEOUT_MILLIS)
    await this.raw.end().catch(() => undefined)
    clearTimeout(timer)
  }
}
