/** What a lease knows from its beginning. */
import type { Events } from '../events'
import type { Scope } from '../scope'
import type { Dialect } from './dialect'

export interface LeaseContext {
  readonly dialect: Dialect
  readonly events: Events
  readonly statementTimeoutMillis: number
  /** Whose it is, and where it was taken. */
  readonly scope: Scope | undefined
  readonly stack: Error | null
}
