/** A connection beside the pool, for questions that must not queue behind a full one: a ping, a lost commit. */
import { ConnectionError } from '../errors'
import { Limits } from '../limits'
import { Mutex } from '../mutex'
import { outsideOfScopes } from '../scope'
import type { ConnectFailure, Session } from './dialect'

export class SideLane {
  readonly #open: () => Promise<Session>
  readonly #translate: (error: unknown) => ConnectFailure
  #session: Session | null = null
  #turns = new Mutex()
  #isClosed = false

  constructor(open: () => Promise<Session>, translate: (error: unknown) => ConnectFailure) {
    this.#open = open
    this.#translate = translate
  }

  /**
   * Asks one thing of the server.
   *
   * @throws ConnectionError with the reason, or what `limits` makes of its end
   */
  async ask<T>(limits: Limits, question: (session: Session) => Promise<T>): Promise<T> {
    let stopWatching: (() => void) | undefined
    const late = new Promise<never>((_, reject) => {
      stopWatching = limits.watch((expiry) => {
        // It does not answer in time, or cannot even be opened: the next one who asks starts afresh. One who has only
        // lost interest does not spoil it for the others.
        if (expiry.kind === 'late') {
          this.#session?.destroy()
          this.#turns = new Mutex()
        }
        reject(limits.error(expiry))
      })
    })
    try {
      return await Promise.race([this.#inTurn(question), late])
    } finally {
      stopWatching?.()
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true
    await this.#session?.close()
  }

  async #inTurn<T>(question: (session: Session) => Promise<T>): Promise<T> {
    const turns = this.#turns
    const unlock = await turns.lock(Limits.none)
    try {
      const session = this.#session?.broken === null ? this.#session : await this.#connect()
      if (turns === this.#turns && !this.#isClosed) {
        this.#session = session
        return await question(session)
      }
      await session.close()
      throw new ConnectionError('The question came too late.')
    } catch (cause) {
      throw this.#translate(cause).error
    } finally {
      unlock()
    }
  }

  async #connect(): Promise<Session> {
    const session = await outsideOfScopes(this.#open)
    session.hold(false)
    return session
  }
}
