/** What all leases of one pool have in common. */
import type { Events } from '../events'
import type { Limits } from '../context/limits'
import type { Dialect } from '../driver/dialect'
import type { Session } from '../driver/session'
import type { HeldSession } from './held-session'

export interface LeaseContext {
  readonly dialect: Dialect
  readonly events: Events
  readonly statementTimeoutMillis: number
  /** A connection gave no answer, and was cut: others may be silent, too. */
  silent(this: void): void
  /** Finds another connection for one whose own is lost, in the order asked; null when it was given back meanwhile. */
  exchange(this: void, lease: HeldSession, limits: Limits): Promise<Session | null>
}
