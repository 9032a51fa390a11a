/** Opens the pool's connections, and again after a failure that may pass. */
import { ConnectionError, type DatabaseError } from '../errors'
import type { ConnectFailure, Session } from './dialect'

export interface ConnectorContext {
  /** How long afterConnect may take. */
  readonly patienceMillis: number
  /** Opens a connection and makes a session of it. */
  open(this: void): Promise<Session>
  /** Runs on each new session before anybody else has it. */
  prepare(this: void, session: Session): Promise<void>
  translateConnect(this: void, error: unknown): ConnectFailure
  /** Told of each that was opened, and how long it took. */
  opened(this: void, session: Session, durationMillis: number): void
  /** Told of each failure, and how many there were in a row. */
  failed(this: void, failure: ConnectFailure, attempt: number): void
}

const FIRST_BACKOFF_MILLIS = 50
/** The server is asked about four times a second, so that it is found soon after it has come back. */
const LONGEST_BACKOFF_MILLIS = 300

export class Connector {
  readonly #context: ConnectorContext
  #failures = 0
  /** Why the last attempt failed; undefined after one that succeeded. */
  lastFailure: DatabaseError | undefined
  created = 0
  readonly #preparing = new Set<() => void>()
  #isAbandoned = false

  constructor(context: ConnectorContext) {
    this.#context = context
  }

  async create(): Promise<Session> {
    if (this.#failures > 0) await this.#backOff()
    const started = performance.now()
    try {
      const session = await this.#open()
      this.#failures = 0
      this.lastFailure = undefined
      this.created += 1
      session.hold(false)
      this.#context.opened(session, performance.now() - started)
      return session
    } catch (cause) {
      const failure = this.#context.translateConnect(cause)
      this.#failures += 1
      this.lastFailure = failure.error
      this.#context.failed(failure, this.#failures)
      throw failure.error
    }
  }

  async #open(): Promise<Session> {
    const session = await this.#context.open()
    try {
      if (this.#isAbandoned) throw new ConnectionError('The pool is closed.')
      await this.#inTime(this.#context.prepare(session))
    } catch (error) {
      session.destroy()
      throw error
    }
    return session
  }

  /** afterConnect may wait for something that never comes, and a connection on the server with it. */
  async #inTime(work: Promise<void>): Promise<void> {
    let giveUp = (): void => undefined
    const late = new Promise<never>((_, reject) => {
      giveUp = () => {
        reject(new ConnectionError('afterConnect did not end in time'))
      }
    })
    const timer = setTimeout(giveUp, this.#context.patienceMillis)
    this.#preparing.add(giveUp)
    try {
      await Promise.race([work, late])
    } finally {
      clearTimeout(timer)
      this.#preparing.delete(giveUp)
    }
  }

  /** Cuts off connections that are not ready yet, whatever keeps them from it, and those that will be open later. */
  abandon(): void {
    this.#isAbandoned = true
    for (const giveUp of this.#preparing) giveUp()
  }

  #backOff(): Promise<void> {
    const longest = Math.min(FIRST_BACKOFF_MILLIS * 2 ** (this.#failures - 1), LONGEST_BACKOFF_MILLIS)
    // The process is alive for those who wait, not for this.
    return new Promise((resolve) => setTimeout(resolve, longest * (0.5 + Math.random() / 2)).unref())
  }
}
