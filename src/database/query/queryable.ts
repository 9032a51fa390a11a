/** What can run a query: a Database, a Connection and a Transaction all are this. */
import { inspect } from 'node:util'
import { ISOLATION_LEVELS, type IsolationLevel } from '../driver/dialect'
import type { Row } from '../driver/statement'
import type { Query, Values } from '../sql/compiler'
import { ConfigurationError } from '../errors'
import { Limits } from '../context/limits'

export interface QueryOptions {
  /** Aborting it takes a waiting query out of its queue and cancels a running one on the server. */
  readonly signal?: AbortSignal
  /** For the whole call: waiting for a connection, and running. */
  readonly timeoutMillis?: number
}

export interface TransactionOptions extends QueryOptions {
  /** PostgreSQL's default is `read committed`; SQLite is always `serializable`. */
  readonly isolation?: IsolationLevel
  readonly readOnly?: boolean
  readonly deferrable?: boolean
  /** Rolls back even when the work succeeds: for tests. */
  readonly forceRollback?: boolean
  /** How often the whole work is run again after a serialization failure or a deadlock. Outermost only. Default 0. */
  readonly retries?: number
}

/** What can run a query. A function that takes one leaves it to its caller whether there is a transaction. */
export interface Queryable {
  /** Runs a query and resolves to all of its rows; `[]` when there are none. */
  fetchAll<R extends object = Row>(query: Query, values?: Values, options?: QueryOptions): Promise<R[]>
  /** Runs a query and resolves to its first row, or null. The other rows are not fetched. */
  fetchOne<R extends object = Row>(query: Query, values?: Values, options?: QueryOptions): Promise<R | null>
  /** Runs a query and resolves to one value of its first row, or null when there is no row. */
  fetchVal<T = unknown>(
    query: Query,
    values?: Values,
    options?: QueryOptions & { readonly column?: string | number },
  ): Promise<T | null>
  /** Runs a statement and resolves to how many rows it changed. */
  execute(query: Query, values?: Values, options?: QueryOptions): Promise<ExecuteResult>
  /** Runs a statement for each set of values, in one transaction: all of them or none. */
  executeMany(
    query: Query,
    values: Iterable<Values> | AsyncIterable<Values>,
    options?: QueryOptions,
  ): Promise<{ rowCount: number }>
  /** Streams the rows of a query with flat memory. */
  iterate<R extends object = Row>(
    query: Query,
    values?: Values,
    options?: QueryOptions & { readonly batchSize?: number },
  ): AsyncIterableIterator<R>
  /** Runs work in a transaction that its queries join by themselves: commits when it resolves, rolls back when it rejects. */
  transaction<T>(work: (tx: Transaction) => Promise<T>, options?: TransactionOptions): Promise<T>
  /** Begins a transaction that is yours to end, and that nothing joins by itself. */
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
   * Gives the connection back. What runs on it is cancelled, and a transaction that is still open is rolled back:
   * call it when the work is done. A second call does nothing.
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
  /** Runs when the outermost transaction has committed, after its connection went back; awaited. Dropped on rollback. */
  afterCommit(work: () => unknown): void
  /** Runs when this transaction, or one around it, was rolled back and the outermost one has ended; awaited. */
  afterRollback(work: () => unknown): void
}

export const QUERY_OPTIONS = ['signal', 'timeoutMillis']
const TRANSACTION_OPTIONS = [
  ...QUERY_OPTIONS, 'isolation', 'readOnly', 'deferrable', 'forceRollback', 'retries',
] // prettier-ignore

/** The options, if there is none among them that nobody knows. */
export function checked<T extends object>(options: T | undefined, known: readonly string[]): T | undefined {
  if (options === undefined) return options
  if (typeof options !== 'object' || options === null) {
    throw new ConfigurationError(`Options are an object, got ${inspect(options)}.`)
  }
  const unknown = Object.keys(options).find((name) => !known.includes(name))
  if (unknown === undefined) return options
  throw new ConfigurationError(`There is no option '${unknown}' here. Known ones are ${known.join(', ')}.`)
}

/**
 * The options of a transaction, and the work that is to be done in it.
 *
 * @throws ConfigurationError for an option that is unknown or has no such value, or work that is none
 */
export function checkedTransaction(options: TransactionOptions, work: unknown = noWork): TransactionOptions {
  checked(options, TRANSACTION_OPTIONS)
  checkedWork('transaction', work)
  for (const name of BOOLEANS) {
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

const BOOLEANS = ['readOnly', 'deferrable', 'forceRollback'] as const

const noWork = (): void => undefined

/** @throws ConfigurationError for work that is no function: before anything is opened for it */
export function checkedWork(method: string, work: unknown): void {
  if (typeof work === 'function') return
  throw new ConfigurationError(`${method}(work) takes a function, got ${inspect(work)}.`)
}

/** How long a transaction may take as a whole, from now on. */
export function limitsOf({ signal, timeoutMillis }: TransactionOptions): Limits {
  return Limits.of({ signal, timeoutMillis }, 'BEGIN')
}
