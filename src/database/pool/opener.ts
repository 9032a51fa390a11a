/** Opens the pool's connections, with a back-off after failures. */
import { ConnectionError, type DatabaseError } from '../errors'
import type { PoolCore } from './pool-context'
import type { PooledSession } from './pooled-session'

const FIRST_BACKOFF_MILLIS = 50
/** A server that is away is tried about four times a second, so that it is found soon after it has come back. */
const LONGEST_BACKOFF_MILLIS = 300

export class Opener {
  readonly #pool: PoolCore
  /** For opening a connection and running afterConnect on it. */
  readonly #timeoutMillis: number
  #failures = 0
  /** The error of the last attempt; undefined if it succeeded. */
  lastFailure: DatabaseError | undefined
  /** Connections opened so far. */
  created = 0
  readonly #opening = new Set<AbortController>()
  #isAborted = false

  constructor(pool: PoolCore, timeoutMillis: number) {
    this.#pool = pool
    this.#timeoutMillis = timeoutMillis
  }

  /**
   * Opens one connection, after the back-off if the last attempt failed.
   *
   * @throws ConnectionError with the reason
   */
  async create(): Promise<PooledSession> {
    if (this.#failures > 0) await this.#backOff()
    const { events, translateConnect } = this.#pool.context
    const started = performance.now()
    try {
      const pooled = await this.#open()
      this.#failures = 0
      this.lastFailure = undefined
      this.created += 1
      const { session } = pooled
      session.keepProcessAlive(false)
      pooled.markOpened()
      // When one connection is lost, the others may be lost too.
      session.onLost(() => this.#pool.suspectAll())
      session.givesUpReadOnly = () => this.#pool.replaceAll(pooled)
      events.tell('create', { durationMillis: performance.now() - started })
      return pooled
    } catch (cause) {
      const failure = translateConnect(cause)
      this.#failures += 1
      this.lastFailure = failure.error
      this.#pool.connectFailed(failure, this.#failures)
      throw failure.error
    }
  }

  /** Opens a connection within the timeout: a server may fall silent half-way, and afterConnect may wait forever. */
  async #open(): Promise<PooledSession> {
    if (this.#isAborted) throw new ConnectionError('The pool is closed.')
    const abort = new AbortController()
    const timer = setTimeout(() => {
      abort.abort()
    }, this.#timeoutMillis)
    this.#opening.add(abort)
    try {
      const session = await this.#pool.context.open(abort.signal)
      try {
        return await unlessAborted(abort.signal, this.#pool.admit(session))
      } catch (error) {
        session.destroy()
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
    // The timers of the waiting callers keep the process alive, as long as there are any.
    return new Promise((resolve) => setTimeout(resolve, backOffMillis(this.#failures)).unref())
  }
}

/** Returns how long to wait after so many failed attempts to connect. It varies, so that clients do not come at once. */
export function backOffMillis(failures: number): number {
  const longest = Math.min(FIRST_BACKOFF_MILLIS * 2 ** (failures - 1), LONGEST_BACKOFF_MILLIS)
  return longest * (0.5 + Math.random() / 2)
}

/** Waits for afterConnect. @throws ConnectionError as soon as the signal is aborted */
async function unlessAborted<T>(signal: AbortSignal, preparing: Promise<T>): Promise<T> {
  let onAbort = (): void => undefined
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => {
      reject(new ConnectionError('afterConnect did not end in time'))
    }
  })
  if (signal.aborted) onAbort()
  signal.addEventListener('abort', onAbort)
  return Promise.race([preparing, aborted])
}
