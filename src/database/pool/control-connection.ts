/** A connection beside the pool, for questions that must not queue behind a full one: a ping, a lost commit. */
import { ConnectionError, DatabaseError } from '../errors'
import type { Limits } from '../context/limits'
import { Mutex } from '../context/mutex'
import { outsideOfScopes } from '../context/scope'
import type { ConnectFailure } from '../driver/dialect'
import type { Outcome, Session } from '../driver/session'

/** How often a server is asked that has not noticed a lost connection yet. */
const OUTCOME_RETRY_MILLIS = 50

export interface ControlConnectionContext {
  open(this: void, signal: AbortSignal): Promise<Session>
  translateConnect(this: void, error: unknown): ConnectFailure
  /** True for a database that is its one connection. */
  readonly isSingle: boolean
  /** @throws NotConnectedError when no new work is taken */
  refuseWhenClosing(this: void): void
}

export class ControlConnection {
  readonly #context: ControlConnectionContext
  #session: Session | null = null
  /** Gives up the one that is being opened. */
  #connectAbort: AbortController | null = null
  readonly #mutex = new Mutex()
  #isClosed = false

  constructor(context: ControlConnectionContext) {
    this.#context = context
  }

  /**
   * Asks the server for a sign of life.
   *
   * @throws what `limits` makes of its end, or ConnectionError with the reason
   */
  async ping(limits: Limits): Promise<void> {
    this.#context.refuseWhenClosing()
    // It is there as long as its one connection is.
    if (this.#context.isSingle) return
    try {
      await this.#runOne(limits, (session) => session.ping())
    } catch (error) {
      // It may be the disconnection that cut it off.
      this.#context.refuseWhenClosing()
      throw error
    }
  }

  /**
   * Asks one thing of the server.
   *
   * @throws ConnectionError with the reason, or what `limits` makes of its end
   */
  async #runOne<T>(limits: Limits, work: (session: Session) => Promise<T>): Promise<T> {
    limits.check()
    const unlock = await this.#mutex.lock(limits)
    let stopWatching: (() => void) | undefined
    const expired = new Promise<never>((_, reject) => {
      stopWatching = limits.watch((expiry) => {
        // It does not answer in time, or cannot even be opened: the next one who asks starts afresh.
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

  /** Asks what became of a transaction whose connection was lost, until the server knows or `limits` run out. */
  async outcomeOf(transactionId: string, limits: Limits): Promise<Outcome> {
    this.#context.refuseWhenClosing()
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
      // What cut that connection has often cut this one, too, and a server that restarts refuses new ones for a while.
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
    try {
      return await work(this.#session?.broken === null ? this.#session : await this.#connect())
    } catch (cause) {
      throw cause instanceof DatabaseError ? cause : this.#context.translateConnect(cause).error
    }
  }

  async #connect(): Promise<Session> {
    // One who has waited for his turn meanwhile would open another one.
    if (this.#isClosed) throw new ConnectionError('The database was disconnected.')
    const abort = (this.#connectAbort = new AbortController())
    const session = await outsideOfScopes(() => this.#context.open(abort.signal))
    if (abort.signal.aborted) {
      await session.close()
      throw new ConnectionError('The answer came too late.')
    }
    session.keepProcessAlive(false)
    this.#session = session
    return session
  }
}
