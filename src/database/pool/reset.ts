/** Makes a connection fit for its next user: a new one by afterConnect, a used one by undoing what its user has left. */
import { ConnectionError } from '../errors'
import type { Events } from '../events'
import type { Dialect } from '../driver/dialect'
import type { PooledSession } from './pooled-session'
import type { Lease } from './lease'
import { startWatchdog } from '../context/watchdog'

export interface SessionResetOptions {
  readonly dialect: Dialect
  readonly events: Events
  /** A connection gave no answer, and was cut: others may be silent, too. */
  onSilence(this: void): void
  /** What afterConnect does. */
  prepare(this: void, lease: Lease): Promise<void>
  /** A lease for afterConnect alone. */
  newLease(this: void, pooled: PooledSession): Lease
}

/** How long it may take to roll back and to put back what was set. */
const RESET_TIMEOUT_MILLIS = 1000

export class SessionReset {
  readonly #options: SessionResetOptions
  /** afterConnect has looked at the driver's connection, so that it cannot be run on it again. */
  #afterConnectSawRaw = false
  readonly #preparing = new Set<Lease>()

  constructor(options: SessionResetOptions) {
    this.#options = options
  }

  /** The lease by which afterConnect has a connection of the driver now. */
  leaseInAfterConnect(raw: object): Lease | undefined {
    return [...this.#preparing].find((lease) => lease.session.raw === raw)
  }

  async prepare(pooled: PooledSession): Promise<void> {
    const { prepare, newLease, events } = this.#options
    const lease = newLease(pooled)
    this.#preparing.add(lease)
    try {
      await prepare(lease)
    } finally {
      this.#preparing.delete(lease)
    }
    this.#afterConnectSawRaw ||= lease.isExposed
    lease.end()
    const what = await pooled.session.reset(true)
    if (what !== null) events.tell('cleanup', { what: `${what} (left by afterConnect)`, label: null })
  }

  /**
   * Rolls back what is open, and puts back what was set. What cannot be cleaned in time is destroyed. `wasTaken`: by
   * somebody else than its user, who has not left it so.
   *
   * @returns false when it is clean, but cannot be put back to how it was
   */
  async clean(lease: Lease, wasTaken: boolean): Promise<boolean> {
    const { session } = lease
    let stopWatchdog = (): void => undefined
    // afterConnect may wait for something else than the connection, which would not notice that it is gone.
    const late = new Promise<never>((_, reject) => {
      if (this.#options.dialect.isSingle) return
      stopWatchdog = startWatchdog(RESET_TIMEOUT_MILLIS, () => {
        session.destroy()
        this.#options.onSilence()
        reject(new ConnectionError('The connection could not be cleaned in time.'))
      })
    })
    try {
      return await Promise.race([this.#resetSession(lease, wasTaken), late])
    } catch {
      // What state it is in nobody knows, so nobody may have it.
      session.destroy()
      return true
    } finally {
      stopWatchdog()
    }
  }

  async #resetSession(lease: Lease, wasTaken: boolean): Promise<boolean> {
    const { session } = lease
    const what = session.broken === null ? await session.reset() : null
    if (what !== null && !wasTaken) this.#options.events.tell('cleanup', { what, label: lease.label })
    if (!lease.isChanged || session.broken !== null) return true
    // Listeners and type parsers on the driver's connection nobody can take back.
    if (!this.#options.dialect.isSingle && (lease.isExposed || this.#afterConnectSawRaw)) return false
    const state = await session.discardSettings()
    if (state === 'fresh') await this.prepare(lease.pooled)
    return state !== 'mustClose'
  }
}
