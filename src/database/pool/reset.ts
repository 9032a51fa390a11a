/** Prepares a connection for its next holder: runs afterConnect on a new one, undoes what the last holder has left. */
import { ConnectionError } from '../errors'
import type { PooledSession } from './pooled-session'
import type { Lease } from './lease'
import type { PoolCore } from './pool-context'
import { startWatchdog } from '../context/timers'

/** How long a rollback and a reset of settings may take together. */
const RESET_TIMEOUT_MILLIS = 1000

export class SessionReset {
  readonly #pool: PoolCore
  /** True once afterConnect has used the driver's connection: then it cannot run a second time on a session. */
  #afterConnectSawRaw = false
  readonly #preparing = new Set<Lease>()

  constructor(pool: PoolCore) {
    this.#pool = pool
  }

  /** Returns the lease of afterConnect, if it runs on this driver's connection now. */
  leaseInAfterConnect(raw: object): Lease | undefined {
    return [...this.#preparing].find((lease) => lease.session.raw === raw)
  }

  /** Runs afterConnect on a connection. What it sets is kept; a transaction that it leaves open is rolled back. */
  async prepare(pooled: PooledSession): Promise<void> {
    const { prepare, events } = this.#pool.context
    const lease = this.#pool.newLease(pooled)
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
   * Rolls back what is open, and undoes settings. Destroys a session for which that takes too long. `wasTaken`: the lease
   * was taken from its holder, so that no 'cleanup' event blames the holder.
   *
   * @returns false when the session works, but its settings cannot be undone: it has to be closed
   */
  async clean(lease: Lease, wasTaken: boolean): Promise<boolean> {
    const { session } = lease
    let stopWatchdog = (): void => undefined
    // Destroying the session is not enough: afterConnect may wait for something else, and never notice.
    const late = new Promise<never>((_, reject) => {
      if (this.#pool.context.dialect.isSingle) return
      stopWatchdog = startWatchdog(RESET_TIMEOUT_MILLIS, () => {
        session.destroy()
        this.#pool.suspectAll()
        reject(new ConnectionError('The connection could not be cleaned in time.'))
      })
    })
    try {
      return await Promise.race([this.#resetSession(lease, wasTaken), late])
    } catch {
      // The state of the session is unknown, so it must not be lent.
      session.destroy()
      return true
    } finally {
      stopWatchdog()
    }
  }

  async #resetSession(lease: Lease, wasTaken: boolean): Promise<boolean> {
    const { session } = lease
    const what = session.broken === null ? await session.reset() : null
    if (what !== null && !wasTaken) this.#pool.context.events.tell('cleanup', { what, label: lease.label })
    if (!lease.isChanged || session.broken !== null) return true
    // Listeners and type parsers that were set on the driver's connection cannot be undone.
    if (!this.#pool.context.dialect.isSingle && (lease.isExposed || this.#afterConnectSawRaw)) return false
    const state = await session.discardSettings()
    if (state === 'fresh') await this.prepare(lease.pooled)
    return state !== 'mustClose'
  }
}
