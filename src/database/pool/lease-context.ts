/** What all leases of one pool have in common. */
import type { Events } from '../events'
import type { Limits } from '../context/limits'
import type { Dialect } from '../driver/dialect'
import type { PooledSession } from './pooled-session'

/** A lease whose connection can be replaced by another one. */
export interface ReplaceableLease {
  pooled: PooledSession
  /** It has no connection: its own was lost, and it waits for another one. */
  awaitsReplacement: boolean
  /** Neither given back nor being taken back. */
  readonly isOut: boolean
}

export interface LeaseContext {
  readonly dialect: Dialect
  readonly events: Events
  readonly statementTimeoutMillis: number
  /** A connection gave no answer, and was cut: others may be silent, too. */
  onSilence(this: void): void
  /** Finds another connection for one whose own is lost, in the order asked; null when it was given back meanwhile. */
  replaceConnection(this: void, lease: ReplaceableLease, limits: Limits): Promise<PooledSession | null>
}
