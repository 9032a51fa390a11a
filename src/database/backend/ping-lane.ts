/** A connection beside the pool, for signs of life: whoever asks does not queue behind a full pool. */
import type { Limits } from '../limits'
import { outsideOfScopes } from '../scope'
import type { ConnectFailure, Session } from './dialect'

export class PingLane {
  readonly #open: () => Promise<Session>
  readonly #translate: (error: unknown) => ConnectFailure
  #session: Session | null = null
  #opening: Promise<Session> | null = null
  #isClosed = false

  constructor(open: () => Promise<Session>, translate: (error: unknown) => ConnectFailure) {
    this.#open = open
    this.#translate = translate
  }

  /** @throws ConnectionError with the reason, or what `limits` makes of its end */
  async ping(limits: Limits): Promise<void> {
    let stopWatching: (() => void) | undefined
    const late = new Promise<never>((_, reject) => {
      stopWatching = limits.watch((expiry) => {
        // It does not answer: the next one who asks gets a new one.
        this.#session?.destroy()
        reject(limits.error(expiry))
      })
    })
    try {
      await Promise.race([this.#ask(), late])
    } finally {
      stopWatching?.()
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true
    await this.#session?.close()
  }

  async #ask(): Promise<void> {
    try {
      const session =
        this.#session?.broken === null ? this.#session : await (this.#opening ??= this.#connect())
      await session.ping()
    } catch (cause) {
      throw this.#translate(cause).error
    }
  }

  async #connect(): Promise<Session> {
    try {
      const session = await outsideOfScopes(this.#open)
      session.hold(false)
      this.#session = session
      if (this.#isClosed) await session.close()
      return session
    } finally {
      this.#opening = null
    }
  }
}
