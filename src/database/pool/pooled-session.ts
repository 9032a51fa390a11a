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
  readonly onSilence: () => void
  /** Connections that were not heard of since then are in doubt. */
  suspectSince = -Infinity
  /** When any of them was last heard of. */
  heardAt = -Infinity

  constructor(options: Required<PoolOptions>, onSilence: () => void) {
    this.options = options
    this.onSilence = onSilence
  }

  /** Puts all connections in doubt that were not heard of since then. */
  suspectAll(since = performance.now()): void {
    this.suspectSince = Math.max(this.suspectSince, since)
  }
}

export class PooledSession {
  readonly session: Session
  /** Why it is closed, where that is not said by its state or its age. */
  retireReason: RetireEvent['reason'] | null = null
  readonly #liveness: Liveness
  readonly #expiresAt: number
  /** When it was given back. */
  #idleSince = performance.now()
  #heardAt = this.#idleSince

  constructor(session: Session, liveness: Liveness) {
    this.session = session
    this.#liveness = liveness
    // Up to a tenth less, so that connections opened together do not all go at once.
    this.#expiresAt = this.#idleSince + liveness.options.maxLifetimeMillis * (1 - Math.random() * 0.1)
    liveness.heardAt = this.#idleSince
  }

  /** Idle from now on; it has answered something at `answeredAt`, if it was asked. */
  markIdle(answeredAt: number | null): void {
    this.#idleSince = performance.now()
    this.#heardAt = answeredAt ?? this.#heardAt
    this.#liveness.heardAt = Math.max(this.#liveness.heardAt, this.#heardAt)
  }

  get isExpired(): boolean {
    return performance.now() > this.#expiresAt
  }

  /** Idle for so long that it is not needed any more. */
  get isIdleTooLong(): boolean {
    return performance.now() - this.#idleSince >= this.#liveness.options.idleTimeoutMillis
  }

  /** Silent for so long, or in doubt, that it should give a sign of life. */
  get needsPing(): boolean {
    const { suspectSince, options } = this.#liveness
    const { keepaliveMillis } = options
    const isSilent = keepaliveMillis > 0 && performance.now() - this.#heardAt >= keepaliveMillis
    return isSilent || this.#heardAt < suspectSince
  }

  /** Whether it can be lent without being asked anything. */
  get isFresh(): boolean {
    const { suspectSince, options } = this.#liveness
    const { validateAfterIdleMillis } = options
    const now = performance.now()
    const isSilent = validateAfterIdleMillis !== false && now - this.#heardAt >= validateAfterIdleMillis
    return (
      this.session.broken === null && now <= this.#expiresAt && !isSilent && this.#heardAt >= suspectSince
    )
  }

  /**
   * Whether it can be lent. One that was idle for a while is asked: it may have been cut off without a word. `silent` is
   * called when the answer takes long.
   */
  async canBeLent(onSilence: () => void): Promise<boolean> {
    if (this.session.broken !== null || this.isExpired) return false
    return this.isFresh || this.isAlive(onSilence)
  }

  /** Asks for a sign of life. */
  async isAlive(onSilence?: () => void): Promise<boolean> {
    const started = performance.now()
    const reportSilence = (): void => {
      this.#liveness.suspectAll(started)
      this.#liveness.onSilence()
      onSilence?.()
    }
    const stopWatchdog = startWatchdog(SILENCE_MILLIS, reportSilence)
    try {
      await this.session.ping()
    } catch {
      reportSilence()
      return false
    } finally {
      stopWatchdog()
    }
    this.#heardAt = performance.now()
    this.#liveness.heardAt = this.#heardAt
    return this.session.broken === null
  }
}
