/** What Knex's client asks of the Database that it belongs to, and where it finds it. */
import type { KnexQuery } from '../sql/compiler'
import type { Limits } from '../context/limits'
import type { Access, Statement } from '../driver/statement'
import type { BegunTransaction, TransactionParent, StreamSource, StatementRunner } from '../pool/lease'

/** A connection for one transaction of Knex. */
export interface Hold {
  /** The driver's connection, by which Knex knows it. */
  readonly raw: object
  readonly ground: TransactionParent
  /** The same for somebody who may use it himself. */
  expose(): object
  /** Runs work so that what it asks of the Database joins the transaction; left out where that is not wanted. */
  inside?<T>(begun: BegunTransaction, work: () => T): T
  /** Gives it back. Never rejects. */
  release(): Promise<void>
}

/** `use` and `streamSource` are those of the scope that they are called in. */
export interface KnexHost extends StatementRunner {
  /** What monitors ask Knex's pool for, while there is one. */
  readonly figures: object | undefined
  /** Lends a connection to somebody who has the driver's object until he gives it back. */
  acquire(): Promise<object>
  release(raw: object): Promise<void>
  /** Lends one to a transaction of Knex: that of the scope's transaction or connection, if there is one. */
  hold(): Promise<Hold>
  /** @throws TransactionError when nobody holds a connection by that object of the driver */
  groundOf(raw: object): TransactionParent
  statementOf(query: KnexQuery): Statement
  accessOf(sql: string): Access
  rows(
    reading: StreamSource,
    statement: Statement,
    limits: Limits,
    batchSize: number | null,
  ): AsyncIterable<unknown>
}

/** A client of Knex, which may run at one place only: that of a builder, or of a transaction of Knex. */
export interface LeasedClient {
  readonly config: object
  readonly place?: StatementRunner
  /** The driver's connection there. */
  readonly driverConnection?: object
}

/** In Knex's `config`: the client that it makes for a transaction has nothing else. */
export const HOST = Symbol('millpond')

export function hostOf(client: LeasedClient): KnexHost {
  return (client.config as { [HOST]: KnexHost })[HOST]
}
