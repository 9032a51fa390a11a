/** What all leases of one pool have in common. */
import type { Events } from '../events'
import type { Dialect } from './dialect'

export interface LeaseContext {
  readonly dialect: Dialect
  readonly events: Events
  readonly statementTimeoutMillis: number
}
