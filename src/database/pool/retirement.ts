/** The end of connections: closes them, and says why. */
import type { Cancellation } from '../context/canceller'
import type { Events, RetireEvent } from '../events'
import type { Session } from '../driver/session'
import type { SessionHealth } from './session-health'

type Reason = RetireEvent['reason']

export class Retirement {
  readonly #health: SessionHealth
  readonly #events: Events
  readonly #closed: Cancellation
  readonly #reasons = new WeakMap<Session, Reason>()
  /** How many there were. */
  count = 0

  /** `closed`: all of them go. */
  constructor(fitness: SessionHealth, events: Events, closed: Cancellation) {
    this.#health = fitness
    this.#events = events
    this.#closed = closed
  }

  /** Remembers why a connection is going to be closed. */
  because(session: Session, reason: Reason): void {
    this.#reasons.set(session, reason)
  }

  async end(session: Session): Promise<void> {
    this.count += 1
    this.#events.tell('retire', { reason: this.#reasonOf(session) })
    await session.close()
  }

  #reasonOf(session: Session): Reason {
    if (this.#closed.aborted) return 'closed'
    if (session.broken !== null) return 'lost'
    return this.#reasons.get(session) ?? (this.#health.isOld(session) ? 'old' : 'extra')
  }
}
