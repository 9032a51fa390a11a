/** The pool's record of one open connection: its session, its age, when it was last heard of, why it is to go. */
import type { RetireEvent } from '../events'
import type { Session } from '../driver/session'
import type { PoolOptions } from '../options'
import { startWatchdog } from '../context/watchdog'

/** A server that answers does not take longer. Then the other connections are asked as well, and a new one is opened. */
const SILENCE_MILLIS = 250

/** What the connections of one pool know of each other: where one is silent, the others may be lost as well. */
export class Liveness {
  readonly options: Required<PoolOptions>
  /** Called when a connection that was asked for a sign of life gives none. */
  readonly whenSilent: () => void
  /** Connections that were not heard of since then are in doubt. */
  doubtedSince = -Infinity
  /** When any of them was last heard of. */
  heardAt = -Infinity

  constructor(options: Required<PoolOptions>, whenSilent: () => void) {
    this.options = options
    this.whenSilent = whenSilent
  }

  /** Puts all connections in doubt that were not heard of since then. */
  doubtAll(since = performance.now()): void {
    this.doubtedSince = Math.max(this.doubtedSince, since)
  }
}

export class PooledSession {
  readonly session: Session
  /** Why it is closed, where that is not said by its state or its age. */
  retireReason: RetireEvent['reason'] | null = null
  readonly #liveness: Liveness
  readonly #expires: number
  /** When it was given back. */
  #idleSince = performance.now()
  #heardAt = this.#idleSince

  constructor(session: Session, liveness: Liveness) {
    this.session = session
    this.#liveness = liveness
    // Up to a tenth less, so that connections opened together do not all go at once.
    this.#expires = this.#idleSince + liveness.options.maxLifetimeMillis * (1 - Math.random() * 0.1)
    liveness.heardAt = this.#idleSince
  }

  /** Idle from now on; it has answered something at `answeredAt`, if it was asked. */
  rest(answeredAt: number | null): void {
    this.#idleSince = performance.now()
    this.#heardAt = answeredAt ?? this.#heardAt
    this.#liveness.heardAt = Math.max(this.#liveness.heardAt, this.#heardAt)
  }

  get isOld(): boolean {
    return performance.now() > this.#expires
  }

  /** Idle for so long that it is not needed any more. */
  get isSpare(): boolean {
    return performance.now() - this.#idleSince >= this.#liveness.options.idleTimeoutMillis
  }

  /** Silent for so long, or in doubt, that it should give a sign of life. */
  get isDue(): boolean {
    const { doubtedSince, options } = this.#liveness
    const { keepaliveMillis } = options
    const isSilent = keepaliveMillis > 0 && performance.now() - this.#heardAt >= keepaliveMillis
    return isSilent || this.#heardAt < doubtedSince
  }

  /** Whether it can be lent without being asked anything. */
  get isFresh(): boolean {
    const { doubtedSince, options } = this.#liveness
    const { validateAfterIdleMillis } = options
    const now = performance.now()
    const isSilent = validateAfterIdleMillis !== false && now - this.#heardAt >= validateAfterIdleMillis
    return this.session.broken === null && now <= this.#expires && !isSilent && this.#heardAt >= doubtedSince
  }

  /**
   * Whether it can be lent. One that was idle for a while is asked: it may have been cut off without a word. `silent` is
   * called when the answer takes long.
   */
  async canBeLent(silent: () => void): Promise<boolean> {
    if (this.session.broken !== null || this.isOld) return false
    return this.isFresh || this.isAlive(silent)
  }

  /** Asks for a sign of life. */
  async isAlive(silent?: () => void): Promise<boolean> {
    const asked = performance.now()
    const tellSilence = (): void => {
      this.#liveness.doubtAll(asked)
      this.#liveness.whenSilent()
      silent?.()
    }
    const stopWatchdog = startWatchdog(SILENCE_MILLIS, tellSilence)
    try {
      await this.session.ping()
    } catch {
      tellSilence()
      return false
    } finally {
      stopWatchdog()
    }
    this.#heardAt = performance.now()
    this.#liveness.heardAt = this.#heardAt
    return this.session.broken === null
  }
}
