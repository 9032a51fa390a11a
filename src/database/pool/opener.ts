/** Opens the pool's connections, and again after a failure that may pass. */
import { ConnectionError, type DatabaseError } from '../errors'
import type { ConnectFailure } from '../driver/dialect'
import type { Session } from '../driver/session'
import type { PooledSession } from './pooled-session'

export interface OpenerContext {
  /** How long opening and afterConnect may take. */
  readonly patienceMillis: number
  /** Opens a connection and makes a session of it, unless the signal is aborted first. */
  open(this: void, signal: AbortSignal): Promise<Session>
  /** Makes the pool's record of it. */
  toPooled(this: void, session: Session): PooledSession
  /** Runs on each new session before anybody else has it. */
  prepare(this: void, pooled: PooledSession): Promise<void>
  translateConnect(this: void, error: unknown): ConnectFailure
  /** Told of each that was opened, and how long it took. */
  opened(this: void, pooled: PooledSession, durationMillis: number): void
  /** Told of each failure, and how many there were in a row. */
  failed(this: void, failure: ConnectFailure, attempt: number): void
}

const FIRST_BACKOFF_MILLIS = 50
/** The server is asked about four times a second, so that it is found soon after it has come back. */
const LONGEST_BACKOFF_MILLIS = 300

export class Opener {
  readonly #context: OpenerContext
  #failures = 0
  /** Why the last attempt failed; undefined after one that succeeded. */
  lastFailure: DatabaseError | undefined
  created = 0
  readonly #opening = new Set<AbortController>()
  #isAbandoned = false

  constructor(context: OpenerContext) {
    this.#context = context
  }

  async create(): Promise<PooledSession> {
    if (this.#failures > 0) await this.#backOff()
    const started = performance.now()
    try {
      const pooled = await this.#open()
      this.#failures = 0
      this.lastFailure = undefined
      this.created += 1
      pooled.session.hold(false)
      this.#context.opened(pooled, performance.now() - started)
      return pooled
    } catch (cause) {
      const failure = this.#context.translateConnect(cause)
      this.#failures += 1
      this.lastFailure = failure.error
      this.#context.failed(failure, this.#failures)
      throw failure.error
    }
  }

  /** A server may fall silent half-way, and afterConnect may wait for something that never comes. */
  async #open(): Promise<PooledSession> {
    const { patienceMillis, open, toPooled, prepare } = this.#context
    if (this.#isAbandoned) throw new ConnectionError('The pool is closed.')
    const giveUp = new AbortController()
    const timer = setTimeout(() => {
      giveUp.abort()
    }, patienceMillis)
    this.#opening.add(giveUp)
    try {
      const pooled = toPooled(await open(giveUp.signal))
      try {
        await unlessAborted(giveUp.signal, prepare(pooled))
        return pooled
      } catch (error) {
        pooled.session.destroy()
        throw error
      }
    } finally {
      clearTimeout(timer)
      this.#opening.delete(giveUp)
    }
  }

  /** Cuts off connections that are not ready yet, whatever keeps them from it. Afterwards none is opened. */
  abandon(): void {
    this.#isAbandoned = true
    for (const giveUp of this.#opening) giveUp.abort()
  }

  #backOff(): Promise<void> {
    const longest = Math.min(FIRST_BACKOFF_MILLIS * 2 ** (this.#failures - 1), LONGEST_BACKOFF_MILLIS)
    // The process is alive for those who wait, not for this.
    return new Promise((resolve) => setTimeout(resolve, longest * (0.5 + Math.random() / 2)).unref())
  }
}

/** @throws ConnectionError as soon as the signal is aborted */
async function unlessAborted(signal: AbortSignal, preparing: Promise<void>): Promise<void> {
  let refuse = (): void => undefined
  const late = new Promise<never>((_, reject) => {
    refuse = () => {
      reject(new ConnectionError('afterConnect did not end in time'))
    }
  })
  if (signal.aborted) refuse()
  signal.addEventListener('abort', refuse)
  await Promise.race([preparing, late])
}
