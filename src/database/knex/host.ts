/** The interface through which Knex's client uses its Database. */
import type { KnexQuery } from '../sql/builder-compiler'
import type { Limits } from '../context/limits'
import type { Dialect } from '../driver/dialect'
import type { Access, Statement } from '../driver/statement'
import type { BegunTransaction, TransactionParent, StreamSource, StatementRunner } from '../pool/lease'

/** A connection lent to one transaction of Knex. */
export interface TransactionLease {
  /** The driver's connection: Knex's name for it. */
  readonly raw: object
  readonly transactionParent: TransactionParent
  /** Returns the driver's connection to a caller that may use it directly; it is cleaned or closed afterwards. */
  expose(): object
  /** Runs work so that its queries on the Database join the transaction. Left out where they must not. */
  runInside?<T>(begun: BegunTransaction, work: () => T): T
  /** Gives the connection back. Never rejects. */
  release(): Promise<void>
}

/** What a Database does for its Knex instance. `use` and `streamSource` follow the scope that they are called in. */
export interface KnexHost extends StatementRunner {
  readonly dialect: Dialect
  /** The counters that monitors read from Knex's pool; undefined before the first connect(). */
  readonly poolCounters: object | undefined
  /** Lends a connection. The caller uses the driver's object and gives it back by `release`. */
  acquire(): Promise<object>
  release(raw: object): Promise<void>
  /** Lends a connection to a transaction of Knex: the one of the scope's transaction or connection, if there is one. */
  leaseForTransaction(): Promise<TransactionLease>
  /**
   * Returns what runs statements on the lease of this driver's connection.
   *
   * @throws TransactionError when it is not lent
   */
  transactionParentOf(raw: object): TransactionParent
  statementOf(query: KnexQuery): Statement
  accessOf(sql: string): Access
  rows(
    reading: StreamSource,
    statement: Statement,
    limits: Limits,
    batchSize: number | null,
  ): AsyncIterable<unknown>
}

/** A client of Knex. That of a running builder, or of a transaction of Knex, has an executor of its own. */
export interface LeasedClient {
  readonly config: object
  /** Runs the client's statements; left out: the scope decides. */
  readonly executor?: StatementRunner
  /** The driver's connection of the executor. */
  readonly driverConnection?: object
}

/** The key of the host in Knex's `config`, the only thing that Knex passes to a transaction's client. */
export const HOST = Symbol('millpond')

/** Returns the host of a client of a Database's Knex instance. */
export function hostOf(client: LeasedClient): KnexHost {
  return (client.config as { [HOST]: KnexHost })[HOST]
}
