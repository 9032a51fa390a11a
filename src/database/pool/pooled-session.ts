/** The pool's record of one open connection: its session, its age, when it last answered, why it is to be closed. */
import type { RetireEvent } from '../events'
import type { Session } from '../driver/session'
import type { PoolOptions } from '../options'
import { startWatchdog } from '../context/timers'

/** A ping that takes longer counts as silence: the other connections are pinged as well, and a new one is opened. */
const SILENCE_MILLIS = 250

/** What the connections of one pool share: when one is silent, the others may be lost as well. */
export interface Liveness {
  readonly options: Required<PoolOptions>
  /** Connections that have not answered since then are in doubt. */
  readonly suspectSince: number
  /** Connections that were opened before that are to be replaced. */
  readonly expiredSince: number
  /** When any connection of the pool last answered. */
  heardAt: number
  /** Puts those connections in doubt that have not answered since then. */
  suspectAll(since: number): void
}

export class PooledSession {
  readonly session: Session
  /** Why it is closed, if neither its state nor its age is the reason. */
  retireReason: RetireEvent['reason'] | null = null
  readonly #liveness: Liveness
  #openedAt = Infinity
  #expiresAt = Infinity
  /** When it was given back. */
  #idleSince = performance.now()
  #heardAt = this.#idleSince

  constructor(session: Session, liveness: Liveness) {
    this.session = session
    this.#liveness = liveness
    liveness.heardAt = this.#idleSince
  }

  /** Starts its lifetime and its idle time, when afterConnect has run, which may have taken long. */
  markOpened(): void {
    const now = performance.now()
    this.#openedAt = now
    // Up to a tenth less, so that connections opened together do not all expire together.
    this.#expiresAt = now + this.#liveness.options.maxLifetimeMillis * (1 - Math.random() * 0.1)
    this.markIdle(now)
  }

  /** Starts its idle time. `answeredAt`: the last answer during its lease, if there was one. */
  markIdle(answeredAt: number | null): void {
    this.#idleSince = performance.now()
    this.#heardAt = answeredAt ?? this.#heardAt
    this.#liveness.heardAt = Math.max(this.#liveness.heardAt, this.#heardAt)
  }

  /** True past `pool.maxLifetimeMillis`, and when all connections of its time are to be replaced. */
  get isExpired(): boolean {
    return performance.now() > this.#expiresAt || this.#openedAt <= this.#liveness.expiredSince
  }

  /** True past `pool.idleTimeoutMillis`. */
  get isIdleTooLong(): boolean {
    return performance.now() - this.#idleSince >= this.#liveness.options.idleTimeoutMillis
  }

  /** True when it is in doubt, or has not answered for `pool.keepaliveMillis`. */
  get needsPing(): boolean {
    const { suspectSince, options } = this.#liveness
    const { keepaliveMillis } = options
    const isSilent = keepaliveMillis > 0 && performance.now() - this.#heardAt >= keepaliveMillis
    return isSilent || this.#heardAt < suspectSince
  }

  /** True when it can be lent without a ping: not broken, not expired, not in doubt, and heard of lately. */
  get isFresh(): boolean {
    const { suspectSince, expiredSince, options } = this.#liveness
    const { validateAfterIdleMillis } = options
    const now = performance.now()
    const isSilent = validateAfterIdleMillis !== false && now - this.#heardAt >= validateAfterIdleMillis
    return (
      this.session.broken === null &&
      now <= this.#expiresAt &&
      this.#openedAt > expiredSince &&
      !isSilent &&
      this.#heardAt >= suspectSince
    )
  }

  /**
   * Returns whether it can be lent. Pings it if it is not fresh, since it may have been cut off without notice. Calls
   * `onSilence` when the answer takes long.
   */
  async canBeLent(onSilence: () => void): Promise<boolean> {
    if (this.session.broken !== null || this.isExpired) return false
    return this.isFresh || this.isAlive(onSilence)
  }

  /** Pings it and returns whether it answered. */
  async isAlive(onSilence?: () => void): Promise<boolean> {
    const started = performance.now()
    const reportSilence = (): void => {
      this.#liveness.suspectAll(started)
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
