/** Knex's client for PostgreSQL: it tries another way when the server refuses the first, and can be told to give up. */
import type { EventEmitter } from 'node:events'
import type { Socket } from 'node:net'
import knex, { type Knex } from 'knex'
import type pg from 'pg'
import { ConnectionError } from '../errors'
import { isHangUp } from './errors'
import { divertRows } from './row-tap'
import { isRefusal, type Login, moreTelling, requireChannelBinding, type Tls } from './tls'

// The deep import that this avoids has no types.
const Base = knex({ client: 'pg' }).client.constructor as typeof Knex.Client

/** pg's Client with the parts that its types leave out. */
export interface RawConnection extends Omit<pg.Client, 'ssl' | 'connection'> {
  /** Set by Knex when the connection reports an error or its end. */
  __knex__disposed?: Error | string
  readyForQuery: boolean
  readonly processID: number
  readonly secretKey: number | Buffer
  readonly ssl: boolean | object
  readonly connection: EventEmitter &
    Login & { readonly stream: Socket; parsedStatements: Record<string, string> }
  getTransactionStatus(): 'I' | 'T' | 'E' | null
  ref(): void
  unref(): void
}

/** A connection that is being opened. */
interface Attempt {
  readonly signal?: AbortSignal
  begun?: RawConnection
}

export class PostgresClient extends Base {
  declare readonly driver: { readonly Client: new (settings: object) => RawConnection }
  declare connectionSettings: object
  /** Handed past Knex, which takes no arguments, from `dial` to `_acquireOnlyConnection`. */
  attempt: Attempt | undefined

  /**
   * Opens a connection.
   *
   * @throws ConnectionError when the signal is aborted first, from which moment on nothing of it is left
   */
  async dial(signal: AbortSignal): Promise<RawConnection> {
    const attempt: Attempt = { signal }
    this.attempt = attempt
    // Knex calls `_acquireOnlyConnection` before anything else, so that no other attempt comes in between.
    const opening = this.acquireRawConnection() as Promise<RawConnection>
    this.attempt = undefined
    return unlessGivenUp(attempt, signal, opening)
  }

  /** As Knex's own, which tells nobody of a connection before it is open, and knows one way only. */
  async _acquireOnlyConnection(): Promise<RawConnection> {
    const { attempt = {}, connectionSettings } = this
    const { otherwise } = this.config as { otherwise?: Tls }
    try {
      return await this.connectBy(connectionSettings, attempt)
    } catch (first) {
      if (otherwise === undefined || attempt.signal?.aborted === true || !isRefusal(first)) throw first
      // Not a copy: Knex hides the password from those who list the members.
      const settings = Object.create(connectionSettings, { ssl: { value: otherwise } }) as object
      try {
        return await this.connectBy(settings, attempt)
      } catch (second) {
        throw moreTelling(
          otherwise === false ? { encrypted: first, plain: second } : { encrypted: second, plain: first },
        )
      }
    }
  }

  private async connectBy(settings: object, attempt: Attempt): Promise<RawConnection> {
    const raw = new this.driver.Client(settings)
    divertRows(raw.connection)
    if ('channelBinding' in settings && settings.channelBinding === 'require')
      requireChannelBinding(raw.connection)
    attempt.begun = raw
    // The first one says why; what pg makes of the end of the socket comes after it.
    raw.on('error', (error) => {
      raw.__knex__disposed ??= error
    })
    // A crash, and a shutdown in a hurry, come as a warning.
    raw.on('notice', (notice) => {
      if (!isHangUp(notice)) return
      const { message, severity, code } = notice
      raw.__knex__disposed ??= Object.assign(new Error(message), { severity, code })
    })
    raw.on('end', () => {
      raw.__knex__disposed ??= 'Connection ended unexpectedly'
    })
    await raw.connect()
    return raw
  }
}

/** Cuts a connection off whose opening, or the first question on it, is given up. */
export async function unlessGivenUp<T>(
  attempt: Pick<Attempt, 'begun'>,
  signal: AbortSignal,
  opening: Promise<T>,
): Promise<T> {
  const giveUp = (): void => {
    attempt.begun?.connection.stream.destroy(new ConnectionError('it was not open in time, and was given up'))
  }
  signal.addEventListener('abort', giveUp)
  try {
    return await opening
  } finally {
    signal.removeEventListener('abort', giveUp)
  }
}
