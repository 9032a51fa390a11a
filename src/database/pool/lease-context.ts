/** What a lease asks of its pool. */
import type { Events } from '../events'
import type { Limits } from '../context/limits'
import type { Dialect } from '../driver/dialect'
import type { PooledSession } from './pooled-session'

/** A lease whose connection can be replaced by another one. */
export interface ReplaceableLease {
  pooled: PooledSession
  /** True while it has no connection, because its own was lost and it waits for another one. */
  awaitsReplacement: boolean
  /** True until its release begins. */
  readonly isOut: boolean
}

export interface LeaseContext {
  readonly dialect: Dialect
  readonly events: Events
  readonly statementTimeoutMillis: number
  /** Tells the pool that a connection gave no answer and was destroyed: others may be silent too. */
  onSilence(this: void): void
  /** Queues for a connection to replace the lost one of a lease; null if the lease was released meanwhile. */
  replaceConnection(this: void, lease: ReplaceableLease, limits: Limits): Promise<PooledSession | null>
}
