/** A connection beside the pool, for what must not wait behind a full pool: a ping, the outcome of a lost COMMIT. */
import { ConnectionError, DatabaseError } from '../errors'
import type { Limits } from '../context/limits'
import { Mutex } from '../context/mutex'
import { outsideOfScopes } from '../context/scope'
import type { Outcome, Session } from '../driver/session'
import type { PoolCore } from './pool-context'

/** How long to wait before asking again, while the server has not noticed yet that a connection is lost. */
const OUTCOME_RETRY_MILLIS = 50

export class ControlConnection {
  readonly #pool: PoolCore
  #session: Session | null = null
  /** Aborts the connection attempt that is under way. */
  #connectAbort: AbortController | null = null
  readonly #mutex = new Mutex()
  #isClosed = false
  /** Whether the last attempt to connect failed because the server had no connection left. */
  #isServerFull = false

  constructor(pool: PoolCore) {
    this.#pool = pool
  }

  /**
   * Resolves when the server has answered a ping: on this connection, or if the server has none left for it, on one of the pool's.
   *
   * @throws ConnectionError with the reason, or the error of `limits`
   */
  async ping(limits: Limits): Promise<void> {
    this.#pool.refuseWhenClosing()
    // Such a database is there as long as its one connection is.
    if (this.#pool.context.dialect.isSingle) return
    try {
      await this.#runOne(limits, (session) => session.ping())
    } catch (error) {
      // Closing the pool may be what ended the ping.
      this.#pool.refuseWhenClosing()
      if (this.#isServerFull && (await this.#pool.isAnswering(limits.remainingMillis))) return
      throw error
    }
  }

  /**
   * Runs `work` on the session, after the work of earlier callers. Destroys the session if `limits` run out.
   *
   * @throws ConnectionError with the reason, or the error of `limits`
   */
  async #runOne<T>(limits: Limits, work: (session: Session) => Promise<T>): Promise<T> {
    limits.check()
    const unlock = await this.#mutex.lock(limits)
    let stopWatching: (() => void) | undefined
    const expired = new Promise<never>((_, reject) => {
      stopWatching = limits.watch((expiry) => {
        // The session did not answer in time, or could not be opened in time: the next caller opens another one.
        this.#session?.destroy()
        this.#session = null
        this.#connectAbort?.abort()
        reject(limits.error(expiry))
      })
    })
    try {
      return await Promise.race([this.#runNow(work), expired])
    } finally {
      stopWatching?.()
      unlock()
    }
  }

  /** Returns what became of a transaction whose connection was lost. Asks until the server knows, or `limits` run out. */
  async outcomeOf(transactionId: string, limits: Limits): Promise<Outcome> {
    this.#pool.refuseWhenClosing()
    for (;;) {
      limits.check()
      const outcome = await this.#fetchOutcome(transactionId, limits)
      if (outcome !== 'open' || this.#isClosed) return outcome
      await new Promise((resolve) => setTimeout(resolve, OUTCOME_RETRY_MILLIS))
    }
  }

  async #fetchOutcome(transactionId: string, limits: Limits): Promise<Outcome> {
    try {
      return await this.#runOne(limits, (session) => session.outcomeOf(transactionId))
    } catch (error) {
      // Often both connections are cut at once, and a server that restarts refuses new ones for a while.
      if (error instanceof ConnectionError) return 'open'
      throw error
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#connectAbort?.abort()
    await this.#session?.close()
  }

  async #runNow<T>(work: (session: Session) => Promise<T>): Promise<T> {
    this.#isServerFull = false
    try {
      return await work(this.#session?.broken === null ? this.#session : await this.#connect())
    } catch (cause) {
      if (cause instanceof DatabaseError) throw cause
      const { error, isServerFull = false } = this.#pool.context.translateConnect(cause)
      this.#isServerFull = isServerFull
      throw error
    }
  }

  async #connect(): Promise<Session> {
    // A caller that waited for the mutex while close() ran must not open a session that is never closed.
    if (this.#isClosed) throw new ConnectionError('The database was disconnected.')
    const abort = (this.#connectAbort = new AbortController())
    const session = await outsideOfScopes(() => this.#pool.context.open(abort.signal))
    if (abort.signal.aborted) {
      await session.close()
      throw new ConnectionError('The answer came too late.')
    }
    session.keepProcessAlive(false)
    this.#session = session
    return session
  }
}
