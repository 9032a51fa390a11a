/** Fresh databases for tests, and what can be seen of them from outside of the library. */
export type Dialect = 'sqlite' | 'postgresql'

/** Makes databases of one dialect and looks into them over connections of its own, by the plain driver. */
export interface Scratch {
  readonly dialect: Dialect
  /** The driver's name in a URL. */
  readonly driver: string
  /** What it is called in the names of tests. */
  readonly title: string
  /** Makes an empty database and returns its URL. */
  create(): Promise<string>
  query(url: string, sql: string): Promise<Record<string, unknown>[]>
  /** One line for each transaction that somebody has open in the database. */
  openTransactions(url: string): Promise<string[]>
  /** One line for each connection that somebody has open to the database. */
  connections(url: string): Promise<string[]>
  /** Ends the connections of others, where that can be done, so that one test's leak is not the next one's. */
  closeConnections(url: string): Promise<void>
  /** Deletes what `create` made. */
  dropAll(): Promise<void>
}
