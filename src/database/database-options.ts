/** What a Database is made with, beside its URL. */
import type { BackendOptions } from './options'
import type { Connection } from './query/queryable'

export interface DatabaseOptions extends BackendOptions {
  /** Runs once on every new connection, before anybody else uses it: SET, PRAGMA. */
  readonly afterConnect?: (connection: Connection) => Promise<void>
  /** One transaction from connect() to disconnect(), always rolled back: for tests. */
  readonly forceRollback?: boolean
}
