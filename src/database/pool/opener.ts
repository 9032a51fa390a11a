/** Opens the pool's connections, with a back-off after failures. */
import { ConnectionError, type DatabaseError } from '../errors'
import type { ConnectFailure } from '../driver/dialect'
import type { Session } from '../driver/session'
import type { PooledSession } from './pooled-session'

export interface OpenerContext {
  /** For opening a connection and running afterConnect on it. */
  readonly timeoutMillis: number
  /** Opens a connection and makes a session of it; fails as soon as the signal is aborted. */
  open(this: void, signal: AbortSignal): Promise<Session>
  /** Makes the pool's record of a session. */
  toPooled(this: void, session: Session): PooledSession
  /** Runs afterConnect on each new session, before a caller gets it. */
  prepare(this: void, pooled: PooledSession): Promise<void>
  translateConnect(this: void, error: unknown): ConnectFailure
  /** Called after each success, with how long it took. */
  onOpened(this: void, pooled: PooledSession, durationMillis: number): void
  /** Called after each failure; `attempt` counts failures in a row. */
  onFailed(this: void, failure: ConnectFailure, attempt: number): void
}

const FIRST_BACKOFF_MILLIS = 50
/** A server that is away is tried about four times a second, so that it is found soon after it has come back. */
const LONGEST_BACKOFF_MILLIS = 300

export class Opener {
  readonly #context: OpenerContext
  #failures = 0
  /** The error of the last attempt; undefined if it succeeded. */
  lastFailure: DatabaseError | undefined
  /** Connections opened so far. */
  created = 0
  readonly #opening = new Set<AbortController>()
  #isAborted = false

  constructor(context: OpenerContext) {
    this.#context = context
  }

  /**
   * Opens one connection, after the back-off if the last attempt failed.
   *
   * @throws ConnectionError with the reason
   */
  async create(): Promise<PooledSession> {
    if (this.#failures > 0) await this.#backOff()
    const started = performance.now()
    try {
      const pooled = await this.#open()
      this.#failures = 0
      this.lastFailure = undefined
      this.created += 1
      pooled.session.keepProcessAlive(false)
      this.#context.onOpened(pooled, performance.now() - started)
      return pooled
    } catch (cause) {
      const failure = this.#context.translateConnect(cause)
      this.#failures += 1
      this.lastFailure = failure.error
      this.#context.onFailed(failure, this.#failures)
      throw failure.error
    }
  }

  /** Opens a connection within the timeout: a server may fall silent half-way, and afterConnect may wait forever. */
  async #open(): Promise<PooledSession> {
    const { timeoutMillis, open, toPooled, prepare } = this.#context
    if (this.#isAborted) throw new ConnectionError('The pool is closed.')
    const abort = new AbortController()
    const timer = setTimeout(() => {
      abort.abort()
    }, timeoutMillis)
    this.#opening.add(abort)
    try {
      const pooled = toPooled(await open(abort.signal))
      try {
        await unlessAborted(abort.signal, prepare(pooled))
        return pooled
      } catch (error) {
        pooled.session.destroy()
        throw error
      }
    } finally {
      clearTimeout(timer)
      this.#opening.delete(abort)
    }
  }

  /** Aborts the connections that are being opened. Afterwards none can be opened. */
  abortAll(): void {
    this.#isAborted = true
    for (const abort of this.#opening) abort.abort()
  }

  #backOff(): Promise<void> {
    const longest = Math.min(FIRST_BACKOFF_MILLIS * 2 ** (this.#failures - 1), LONGEST_BACKOFF_MILLIS)
    // The timers of the waiting callers keep the process alive, as long as there are any.
    return new Promise((resolve) => setTimeout(resolve, longest * (0.5 + Math.random() / 2)).unref())
  }
}

/** Waits for afterConnect. @throws ConnectionError as soon as the signal is aborted */
async function unlessAborted(signal: AbortSignal, preparing: Promise<void>): Promise<void> {
  let onAbort = (): void => undefined
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => {
      reject(new ConnectionError('afterConnect did not end in time'))
    }
  })
  if (signal.aborted) onAbort()
  signal.addEventListener('abort', onAbort)
  await Promise.race([preparing, aborted])
}
