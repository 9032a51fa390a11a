/** Fresh databases for tests, and what can be observed of them from outside the library. */
export type Dialect = 'sqlite' | 'postgresql'

/** Makes databases of one dialect and looks into them over connections of its own, by the plain driver. */
export interface Scratch {
  readonly dialect: Dialect
  /** The driver's name in a URL. */
  readonly driver: string
  /** The name of the database in the names of tests. */
  readonly title: string
  /** Makes an empty database and returns its URL. */
  create(): Promise<string>
  query(url: string, sql: string): Promise<Record<string, unknown>[]>
  /** One line for each open transaction in the database. */
  openTransactions(url: string): Promise<string[]>
  /** One line for each open connection to the database. */
  connections(url: string): Promise<string[]>
  /** Closes leaked connections, where that is possible, so that a leak does not fail the next test as well. */
  closeConnections(url: string): Promise<void>
  /** Deletes what `create` made. */
  dropAll(): Promise<void>
}
