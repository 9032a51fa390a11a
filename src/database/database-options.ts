/** The options of a Database. */
import type { BackendOptions } from './options'
import type { Connection } from './query/queryable'

export interface DatabaseOptions extends BackendOptions {
  /** Runs once on every new connection, before it is lent: SET, PRAGMA. */
  readonly afterConnect?: (connection: Connection) => Promise<void>
  /** One transaction from connect() to disconnect(), always rolled back: for tests. */
  readonly forceRollback?: boolean
}
