/** Which connections are still fit to be lent: how old they are, how long they were silent, whether they are in doubt. */
import type { PoolOptions } from '../options'
import type { Session } from '../driver/session'
import { startWatchdog } from '../context/watchdog'

interface Times {
  readonly expires: number
  /** When it was given back. */
  idleSince: number
  /** When it last gave a sign of life. */
  aliveAt: number
}

/** What a server takes longer for that is there. Then the other connections are asked as well, and a new one is opened. */
const SILENCE_MILLIS = 250

export class SessionHealth {
  readonly #options: Required<PoolOptions>
  readonly #whenSilent: () => void
  readonly #times = new WeakMap<Session, Times>()
  /** What was silent since then may have been lost together with the one that was. */
  #doubtedSince = -Infinity
  /** When any of them has last given a sign of life. */
  heardAt = -Infinity

  /** `whenSilent` is called when a connection that was asked for a sign of life gives none. */
  constructor(options: Required<PoolOptions>, whenSilent: () => void) {
    this.#options = options
    this.#whenSilent = whenSilent
  }

  isNew(session: Session): void {
    // Up to a tenth less, so that connections opened together do not all go at once.
    const lifetime = this.#options.maxLifetimeMillis * (1 - Math.random() * 0.1)
    const now = performance.now()
    this.heardAt = now
    this.#times.set(session, { expires: now + lifetime, idleSince: now, aliveAt: now })
  }

  /** From now on the session is idle; it has answered something at `answeredAt`, if it was asked. */
  rests(session: Session, answeredAt: number | null): void {
    const times = this.#times.get(session)
    if (times === undefined) return
    times.idleSince = performance.now()
    times.aliveAt = answeredAt ?? times.aliveAt
    this.heardAt = Math.max(this.heardAt, times.aliveAt)
  }

  /** One connection was lost, or is silent: so are all others, perhaps, which have not been heard of since then. */
  doubtAll(since = performance.now()): void {
    this.#doubtedSince = Math.max(this.#doubtedSince, since)
  }

  isOld(session: Session): boolean {
    return performance.now() > (this.#times.get(session)?.expires ?? Infinity)
  }

  /** Idle for so long that it is not needed any more. */
  isSpare(session: Session): boolean {
    return this.#idleMillis(session) >= this.#options.idleTimeoutMillis
  }

  /** Silent for so long, or in doubt, that it should give a sign of life. */
  isDue(session: Session): boolean {
    const { keepaliveMillis } = this.#options
    return this.#isDoubted(session) || (keepaliveMillis > 0 && this.#silentMillis(session) >= keepaliveMillis)
  }

  /**
   * Whether it can be lent. One that was idle for a while is asked: it may have been cut off without a word. `silent` is
   * called when the answer takes long.
   */
  async canBeLent(session: Session, silent: () => void): Promise<boolean> {
    if (session.broken !== null || this.isOld(session)) return false
    return this.isFresh(session) || this.isAlive(session, silent)
  }

  /** Whether it can be lent without being asked anything. */
  isFresh(session: Session): boolean {
    const times = this.#times.get(session)
    if (times === undefined || session.broken !== null) return false
    const { validateAfterIdleMillis } = this.#options
    const { aliveAt, expires } = times
    const now = performance.now()
    const isSilent = validateAfterIdleMillis !== false && now - aliveAt >= validateAfterIdleMillis
    return now <= expires && !isSilent && aliveAt >= this.#doubtedSince
  }

  async isAlive(session: Session, silent?: () => void): Promise<boolean> {
    const asked = performance.now()
    const tellSilence = (): void => {
      this.doubtAll(asked)
      this.#whenSilent()
      silent?.()
    }
    const answered = startWatchdog(SILENCE_MILLIS, tellSilence)
    try {
      await session.ping()
    } catch {
      tellSilence()
      return false
    } finally {
      answered()
    }
    const times = this.#times.get(session)
    this.heardAt = performance.now()
    if (times !== undefined) times.aliveAt = this.heardAt
    return session.broken === null
  }

  #isDoubted(session: Session): boolean {
    return (this.#times.get(session)?.aliveAt ?? Infinity) < this.#doubtedSince
  }

  #idleMillis(session: Session): number {
    return performance.now() - (this.#times.get(session)?.idleSince ?? Infinity)
  }

  #silentMillis(session: Session): number {
    return performance.now() - (this.#times.get(session)?.aliveAt ?? Infinity)
  }
}
