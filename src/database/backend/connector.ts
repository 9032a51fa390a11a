/** Opens the pool's connections, again after a failure that may pass, and says which are still fit to be lent. */
import type { DatabaseError } from '../errors'
import type { Settings } from '../options'
import type { ConnectFailure, Session } from './dialect'

export interface ConnectorContext {
  readonly settings: Settings
  /** Opens a connection and makes a session of it. */
  open(this: void): Promise<Session>
  /** Runs on each new session before anybody else has it. */
  prepare(this: void, session: Session): Promise<void>
  translateConnect(this: void, error: unknown): ConnectFailure
  /** Told of each failure, and how many there were in a row. */
  failed(this: void, failure: ConnectFailure, attempt: number): void
}

const FIRST_BACKOFF_MILLIS = 50
const LONGEST_BACKOFF_MILLIS = 1000

export class Connector {
  readonly #context: ConnectorContext
  readonly #times = new WeakMap<Session, { expires: number; idleSince: number }>()
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
    try {
      const session = await this.#open()
      this.#failures = 0
      this.lastFailure = undefined
      this.created += 1
      session.hold(false)
      // Up to a tenth less, so that connections opened together do not all go at once.
      const lifetime = this.#context.settings.pool.maxLifetimeMillis * (1 - Math.random() * 0.1)
      const now = performance.now()
      this.#times.set(session, { expires: now + lifetime, idleSince: now })
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

  /** Remembers that the session is idle from now on. */
  rests(session: Session): void {
    const times = this.#times.get(session)
    if (times !== undefined) times.idleSince = performance.now()
  }

  /** Broken, or past its lifetime. */
  isWorn(session: Session): boolean {
    return session.broken !== null || performance.now() > (this.#times.get(session)?.expires ?? Infinity)
  }

  /** Whether it can be lent. One that was idle for a while is asked: it may have been cut off without a word. */
  async isFit(session: Session): Promise<boolean> {
    if (this.isWorn(session)) return false
    const { validateAfterIdleMillis } = this.#context.settings.pool
    const idleMillis = performance.now() - (this.#times.get(session)?.idleSince ?? 0)
    if (validateAfterIdleMillis === false || idleMillis < validateAfterIdleMillis) return true
    try {
      await session.ping()
      return true
    } catch {
      return false
    }
  }

  #backOff(): Promise<void> {
    const longest = Math.min(FIRST_BACKOFF_MILLIS * 2 ** (this.#failures - 1), LONGEST_BACKOFF_MILLIS)
    // The process is alive for those who wait, not for this.
    return new Promise((resolve) => setTimeout(resolve, longest * (0.5 + Math.random() / 2)).unref())
  }
}
