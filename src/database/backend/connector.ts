/** Opens the pool's connections, and again after a failure that may pass. */
import type { DatabaseError } from '../errors'
import type { ConnectFailure, Session } from './dialect'

export interface ConnectorContext {
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
  readonly #preparing = new Set<Session>()

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
    this.#preparing.add(session)
    try {
      await this.#context.prepare(session)
    } catch (error) {
      session.destroy()
      throw error
    } finally {
      this.#preparing.delete(session)
    }
    return session
  }

  /** Cuts off connections that are not ready yet, whatever keeps them from it. */
  abandon(): void {
    for (const session of this.#preparing) session.destroy()
  }

  #backOff(): Promise<void> {
    const longest = Math.min(FIRST_BACKOFF_MILLIS * 2 ** (this.#failures - 1), LONGEST_BACKOFF_MILLIS)
    // The process is alive for those who wait, not for this.
    return new Promise((resolve) => setTimeout(resolve, longest * (0.5 + Math.random() / 2)).unref())
  }
}
