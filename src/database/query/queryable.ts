/** The interface of everything that can run a query: a Database, a Connection, a Transaction. */
import { inspect } from 'node:util'
import { ISOLATION_LEVELS, type IsolationLevel } from '../driver/dialect'
import type { Row } from '../driver/statement'
import type { Query, Values } from '../sql/sql-tag'
import type { ColumnOf, KnownColumns, RowOf, ValueOf, ValuesFor } from './inferred-rows'
import type { StandardSchema } from '../sql/standard-schema'
import { ConfigurationError } from '../errors'
import { Limits } from '../context/limits'

export interface QueryOptions {
  /** Aborting the signal removes a waiting query from its queue, and cancels a running one on the server. */
  readonly signal?: AbortSignal
  /** The time limit of the whole call: waiting for a connection, and running. */
  readonly timeoutMillis?: number
}

export interface SchemaOption<T = unknown> {
  /** What is checked, and made of: each row, or the value of fetchVal(). By Zod, Valibot, ArkType or any other Standard Schema. */
  readonly schema: StandardSchema<T>
}

export interface TransactionOptions extends QueryOptions {
  /** PostgreSQL's default is `read committed`; SQLite is always `serializable`. */
  readonly isolation?: IsolationLevel
  readonly readOnly?: boolean
  readonly deferrable?: boolean
  /** Rolls back even when the work succeeds: for tests. */
  readonly forceRollback?: boolean
  /** How often the work runs again after a serialization failure or a deadlock. Outermost only. Default 0. */
  readonly retries?: number
}

/** Runs queries. A function that takes a Queryable lets its caller decide on the transaction. */
export interface Queryable {
  /**
   * Runs a query and resolves to all of its rows; `[]` when there are none. A Knex builder of a typed table tells their
   * type; for other queries the caller may claim it, as `R`, or give a `schema`, which every row is checked against.
   *
   * @throws RowError for a row that does not fit the schema
   */
  fetchAll<T, Q extends Query = Query>(
    query: Q & KnownColumns<Q>,
    values: Values | undefined,
    options: QueryOptions & SchemaOption<T>,
  ): Promise<T[]>
  fetchAll<R extends object = Row, Q extends Query = Query>(
    query: Q & KnownColumns<Q>,
    values?: Values,
    options?: QueryOptions,
  ): Promise<RowOf<Q, R>[]>
  /** Runs a query and resolves to its first row, or null. The other rows are not fetched. */
  fetchOne<T, Q extends Query = Query>(
    query: Q & KnownColumns<Q>,
    values: Values | undefined,
    options: QueryOptions & SchemaOption<T>,
  ): Promise<T | null>
  fetchOne<R extends object = Row, Q extends Query = Query>(
    query: Q & KnownColumns<Q>,
    values?: Values,
    options?: QueryOptions,
  ): Promise<RowOf<Q, R> | null>
  /**
   * Runs a query and resolves to one value of its first row, or null when there is no row. A `schema` checks the value,
   * NULL included.
   */
  fetchVal<T, Q extends Query = Query>(
    query: Q & KnownColumns<Q>,
    values: Values | undefined,
    options: QueryOptions & SchemaOption<T> & { readonly column?: ColumnOf<Q> },
  ): Promise<T | null>
  fetchVal<T = unknown, Q extends Query = Query, C extends ColumnOf<Q> = ColumnOf<Q>>(
    query: Q & KnownColumns<Q>,
    values?: Values,
    options?: QueryOptions & { readonly column?: C },
  ): Promise<ValueOf<Q, T, C> | null>
  /** Runs a statement and resolves to how many rows it changed. */
  execute(query: Query, values?: Values, options?: QueryOptions): Promise<ExecuteResult>
  /** Runs a statement for each set of values, in one transaction: all of them or none. */
  executeMany<Q extends Query>(
    query: Q,
    values: Iterable<ValuesFor<Q>> | AsyncIterable<ValuesFor<Q>>,
    options?: QueryOptions,
  ): Promise<{ rowCount: number }>
  /** Streams the rows of a query with flat memory. */
  iterate<T, Q extends Query = Query>(
    query: Q & KnownColumns<Q>,
    values: Values | undefined,
    options: QueryOptions & SchemaOption<T> & { readonly batchSize?: number },
  ): AsyncIterableIterator<T>
  iterate<R extends object = Row, Q extends Query = Query>(
    query: Q & KnownColumns<Q>,
    values?: Values,
    options?: QueryOptions & { readonly batchSize?: number },
  ): AsyncIterableIterator<RowOf<Q, R>>
  /** Runs work in a transaction, which its queries join: commits when the work resolves, rolls back when it rejects. */
  transaction<T>(work: (tx: Transaction) => Promise<T>, options?: TransactionOptions): Promise<T>
  /** Begins a transaction that the caller ends. Only queries made on it run in it. */
  begin(options?: TransactionOptions): Promise<Transaction>
}

export interface ExecuteResult {
  /** Rows inserted, updated or deleted; 0 for a statement that changes none. */
  readonly rowCount: number
  /** SQLite's rowid of the last row that an INSERT made; null elsewhere, where `RETURNING` and fetchVal serve. */
  readonly lastInsertId: number | null
}

/** One pooled connection, held. Its statements take turns, first come, first served. */
export interface Connection extends Queryable, AsyncDisposable {
  /** The driver's own connection, for what has no method here: pg's `Client`, or sqlite3's `Database`. Not after release(). */
  readonly raw: unknown
  /**
   * Cancels what runs on the connection, rolls back a transaction that is still open, and gives the connection back.
   * A second call does nothing.
   */
  release(): Promise<void>
}

/** BEGIN … COMMIT on one connection; inside another transaction, a savepoint. */
export interface Transaction extends Queryable, AsyncDisposable {
  /** 1 for BEGIN, 2 for a savepoint in it, and so on. */
  readonly depth: number
  readonly state: 'open' | 'committed' | 'rolled back'
  commit(): Promise<void>
  rollback(): Promise<void>
  /** Runs work after the outermost transaction has committed and released its connection; awaited. Dropped on rollback. */
  afterCommit(work: () => unknown): void
  /** Runs work after the outermost transaction has ended, if this one or one around it was rolled back; awaited. */
  afterRollback(work: () => unknown): void
}

export const QUERY_OPTIONS = ['signal', 'timeoutMillis']
const TRANSACTION_OPTIONS = [
  ...QUERY_OPTIONS, 'isolation', 'readOnly', 'deferrable', 'forceRollback', 'retries',
] // prettier-ignore

/**
 * Returns the options.
 *
 * @throws ConfigurationError for an unknown option
 */
export function checkOptions<T extends object>(
  options: T | undefined,
  known: readonly string[],
): T | undefined {
  if (options === undefined) return options
  if (typeof options !== 'object' || options === null) {
    throw new ConfigurationError(`Options are an object, got ${inspect(options)}.`)
  }
  const unknown = Object.keys(options).find((name) => !known.includes(name))
  if (unknown === undefined) return options
  throw new ConfigurationError(`There is no option '${unknown}' here. Known ones are ${known.join(', ')}.`)
}

/**
 * Checks the options of a transaction and its work, and returns the options.
 *
 * @throws ConfigurationError for an unknown option, a wrong value, or work that is not a function
 */
export function checkTransactionOptions(
  options: TransactionOptions,
  work: unknown = noWork,
): TransactionOptions {
  checkOptions(options, TRANSACTION_OPTIONS)
  checkWork('transaction', work)
  for (const name of BOOLEAN_OPTIONS) {
    const value = options[name]
    if (value === undefined || typeof value === 'boolean') continue
    throw new ConfigurationError(`${name} is true or false, got ${inspect(value)}.`)
  }
  const { isolation, retries } = options
  if (isolation !== undefined && !ISOLATION_LEVELS.includes(isolation)) {
    throw new ConfigurationError(
      `isolation is one of ${ISOLATION_LEVELS.join(', ')}, got ${inspect(isolation)}.`,
    )
  }
  if (retries !== undefined && (!Number.isInteger(retries) || retries < 0)) {
    throw new ConfigurationError(`retries is a whole number from 0 up, got ${inspect(retries)}.`)
  }
  return options
}

const BOOLEAN_OPTIONS = ['readOnly', 'deferrable', 'forceRollback'] as const

const noWork = (): void => undefined

/** @throws ConfigurationError for work that is not a function, before anything is opened for it */
export function checkWork(method: string, work: unknown): void {
  if (typeof work === 'function') return
  throw new ConfigurationError(`${method}(work) takes a function, got ${inspect(work)}.`)
}

/** Returns the limits of a whole transaction, which starts now. */
export function transactionLimits({ signal, timeoutMillis }: TransactionOptions): Limits {
  return Limits.of({ signal, timeoutMillis }, 'BEGIN')
}
