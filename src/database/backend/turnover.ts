/** Makes a connection fit for its next user: a new one by afterConnect, a used one by undoing what its user has left. */
import type { Events } from '../events'
import type { Dialect, Session } from './dialect'
import type { Lease } from './lease'
import { unlessDoneIn } from './within'

export interface TurnoverOptions {
  readonly dialect: Dialect
  readonly events: Events
  /** What afterConnect does. */
  prepare(this: void, lease: Lease): Promise<void>
  /** A lease for afterConnect alone. */
  leaseOf(this: void, session: Session): Lease
}

/** How long it may take to roll back and to put back what was set. */
const PATIENCE_MILLIS = 1000

export class Turnover {
  readonly #options: TurnoverOptions

  constructor(options: TurnoverOptions) {
    this.#options = options
  }

  async prepare(session: Session): Promise<void> {
    const { prepare, leaseOf, events } = this.#options
    const lease = leaseOf(session)
    await prepare(lease)
    lease.end()
    const what = await session.reset(true)
    if (what !== null) events.tell('cleanup', { what: `${what} (left by afterConnect)`, label: null })
  }

  /**
   * Rolls back what is open, and puts back what was set. What cannot be cleaned in time is destroyed.
   *
   * @returns false when it is clean, but cannot be put back to how it was
   */
  async clean(lease: Lease): Promise<boolean> {
    const { session } = lease
    const { events, dialect } = this.#options
    const done = dialect.isSingle ? () => undefined : unlessDoneIn(PATIENCE_MILLIS, () => session.destroy())
    try {
      const what = session.broken === null ? await session.reset() : null
      if (what !== null) events.tell('cleanup', { what, label: lease.label })
      if (!lease.isChanged || session.broken !== null) return true
      const state = await session.renew()
      if (state === 'new') await this.prepare(session)
      return state !== 'spent'
    } catch {
      // What state it is in nobody knows, so nobody may have it.
      session.destroy()
      return true
    } finally {
      done()
    }
  }
}
