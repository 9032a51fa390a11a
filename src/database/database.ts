/** One logical database: connected at start-up, lent out per query, transaction or request, disconnected at the end. */
import { inspect } from 'node:util'
import type { Knex } from 'knex'
import { CurrentTransaction } from './transaction/current'
import type { Backend } from './query/backend'
import { createBackend } from './create-backend'
import { type Access, STREAM } from './driver/statement'
import type { Security } from './driver/dialect'
import type { StreamSource, Work } from './pool/lease'
import { noStats, type PoolStats } from './pool/pool-stats'
import {
  beginTransaction,
  acquireConnection,
  type ConnectionSource,
  runTransaction,
  withConnection,
  withJoinedConnection,
  withLease,
} from './transaction/with-connection'
import { HeldConnection, JoinedConnection } from './transaction/connection'
import type { DatabaseOptions } from './database-options'
import type { Holder } from './errors'
import { type DatabaseEvents, Events } from './events'
import { exclusively } from './exclusive-work'
import { ForcedRollback } from './transaction/force-rollback'
import { knexLender } from './knex-lender'
import { Lifecycle } from './lifecycle'
import { Limits } from './context/limits'
import {
  checked,
  checkedTransaction,
  checkedWork,
  type Connection,
  QUERY_OPTIONS,
  type QueryOptions,
  type Transaction,
  type TransactionOptions,
} from './query/queryable'
import { dedicatedSource, sharedSource } from './pool/stream-source'
import { runBound, runDetached } from './context/scope'
import { DatabaseURL } from './url'
import { QueryMethods } from './query/query-methods'
import { lazyConnection, lazyTransaction } from './transaction/lazy-transaction'

const DEFAULT_GRACE_MILLIS = 10_000
const DEFAULT_PING_MILLIS = 1000
/**
 * A database. Making one does no I/O; `connect()` opens its pool, `disconnect()` closes it.
 *
 * Every query takes a connection of its own from the pool and gives it back, but inside `transaction(work)` and
 * `connection(work)`: there every query of the work runs on the one connection, and so in the one transaction,
 * without having it passed along.
 *
 * @throws ConfigurationError for a URL or an option that is wrong
 * @example
 * const database = new Database('sqlite:///blog.db')
 * await database.connect()
 * const posts = await database.fetchAll('SELECT * FROM posts WHERE author_id = :author', { author: 1 })
 * await database.disconnect()
 */
export class Database extends QueryMethods implements AsyncDisposable {
  readonly url: DatabaseURL
  /** How long connect() goes on trying. */
  readonly connectTimeoutMillis: number
  protected readonly backend: Backend
  readonly #events = new Events()
  readonly #life: Lifecycle
  readonly #current = new CurrentTransaction(this)

  constructor(url: string | DatabaseURL, options: DatabaseOptions = {}) {
    super()
    this.url = new DatabaseURL(url)
    const { afterConnect, forceRollback = false, ...backendOptions } = options
    checkedTransaction({ forceRollback })
    if (afterConnect !== undefined) checkedWork('afterConnect', afterConnect)
    const lender = knexLender(this, this.#current, () => this.#lender, {
      use: async (limits, access, work) => this.use(limits, access, work),
      streamSource: (limits) => this.streamSource(limits),
    })
    this.backend = createBackend(this.url, backendOptions, this.#events, lender)
    this.connectTimeoutMillis = this.backend.settings.connectTimeoutMillis
    this.#life = new Lifecycle(this.backend, this.#events, {
      // Under a key of its own: it belongs to no scope of this Database.
      prepare: async (lease) => afterConnect?.(new HeldConnection(this.backend, {}, null, lease)),
      opened: async (pool) => {
        if (forceRollback) await this.#current.force(() => ForcedRollback.begin(this.backend, this, pool))
      },
      closing: () => this.#current.endForced(true),
    })
  }

  /** What it is called in logs and errors. */
  get name(): string {
    return this.backend.settings.name
  }

  /** True between connect() and disconnect(). It says nothing about the server: for that there is ping(). */
  get isConnected(): boolean {
    return this.#life.isConnected
  }

  /** The one Knex instance. Builders made with it can be awaited, and join the transaction of their scope. */
  get knex(): Knex {
    return this.backend.knex
  }

  /** A Knex builder for a table: the same as `database.knex(name)`. */
  // oxlint-disable-next-line typescript/no-explicit-any -- Knex's own default: a table of unknown columns
  table<T extends object = any>(name: string): Knex.QueryBuilder<T> {
    return this.backend.knex<T>(name)
  }

  /**
   * Opens the pool and one connection, to prove that the URL is right. Safe to call more than once, and by several
   * callers at the same time. While the server refuses connections because it is starting, it is tried again, until
   * `connectTimeoutMillis` is over.
   *
   * @throws ConnectionError when the database cannot be reached, with the driver's reason as its cause
   */
  connect(): Promise<void> {
    return this.#life.connect()
  }

  /**
   * Refuses new work from now on, lets running work finish within the grace, then cancels what is left and closes
   * every connection. Does nothing when not connected. Fails only for options that are wrong.
   */
  async disconnect(options?: { readonly graceMillis?: number }): Promise<void> {
    const graceMillis = checked(options, ['graceMillis'])?.graceMillis ?? DEFAULT_GRACE_MILLIS
    await this.#life.disconnect(graceMillis)
  }

  /** Runs work with one connection, which its queries run on by themselves. Inside a transaction it is that one's. */
  async connection<T>(work: (connection: Connection) => Promise<T>): Promise<T> {
    checkedWork('connection', work)
    const found = this.#current.get()
    const bound = found instanceof Promise ? await found : found
    if (bound instanceof HeldConnection) return work(bound)
    if (bound !== null)
      return withJoinedConnection(new JoinedConnection(bound, this.#current.statementsOf(bound)), work)
    return withConnection(this.#lender, Limits.of(undefined, ''), false, (connection) =>
      runBound(this, connection, () => work(connection)),
    )
  }

  /** Takes a connection that is yours to release, and that no query uses by itself. `await using` releases it. */
  async acquire(): Promise<Connection> {
    const { forced } = this.#current
    if (forced !== null) return forced.track(new JoinedConnection(forced.level, forced))
    return acquireConnection(this.#lender)
  }

  override async transaction<T>(
    work: (tx: Transaction) => Promise<T>,
    options: TransactionOptions = {},
  ): Promise<T> {
    const found = this.#current.get()
    const bound = found instanceof Promise ? await found : found
    if (bound !== null) return bound.transaction(work, options)
    checkedTransaction(options, work)
    return runTransaction(this.#lender, work, options)
  }

  override async begin(options: TransactionOptions = {}): Promise<Transaction> {
    const found = this.#current.get()
    const bound = found instanceof Promise ? await found : found
    if (bound !== null) return this.#current.beginIn(bound, options)
    checkedTransaction(options)
    return beginTransaction(this.#lender, options)
  }

  /**
   * Like {@link transaction}, but a connection is taken only when the work makes its first query: for what may need none, or
   * waits for something else first, such as a request for its body.
   */
  async transactionOnDemand<T>(
    work: () => Promise<T>,
    options: Omit<TransactionOptions, 'retries' | 'forceRollback'> = {},
  ): Promise<T> {
    checkedTransaction(options, work)
    return lazyTransaction(this, this.#current, () => this.#lender, work, options)
  }

  /** The same for a connection. Inside a transaction or a held connection it is that one's. */
  async connectionOnDemand<T>(work: () => Promise<T>): Promise<T> {
    checkedWork('connectionOnDemand', work)
    return lazyConnection(this, this.#current, () => this.#lender, work)
  }

  /**
   * Makes a function of work whose every call runs in a transaction, of its own or of its caller's.
   *
   * @example
   * const remove = database.transactional((id: number) => database.execute('DELETE FROM posts WHERE id = :id', { id }))
   * await remove(1)
   */
  transactional<A extends unknown[], T>(
    work: (...args: A) => Promise<T>,
    options?: TransactionOptions,
  ): (...args: A) => Promise<T> {
    const run = (call: () => Promise<T>): Promise<T> => this.transaction(call, options)
    return function (this: unknown, ...args: A) {
      return run(() => work.apply(this, args))
    }
  }

  /**
   * Rolls back, at its end, all that is done on this Database while work runs, by whomever: for tests. Transactions
   * are savepoints meanwhile, and take turns; their isolation and other modes do not apply.
   *
   * @throws TransactionError when that is so already
   */
  async forceRollback<T>(work: () => Promise<T>): Promise<T> {
    checkedWork('forceRollback', work)
    const { pool } = this.#life
    await this.#current.force(() => ForcedRollback.begin(this.backend, this, pool))
    try {
      return await work()
    } finally {
      await this.#current.endForced(false)
    }
  }

  /**
   * Runs work while nobody else, in whatever process, does work of that name on this database; waits for them first.
   * A process that is killed locks nobody out. On SQLite an empty file stays beside the database.
   */
  async exclusively<T>(name: string, work: () => Promise<T>, options?: QueryOptions): Promise<T> {
    return exclusively(this.backend, name, work, options, () => this.#life.pool)
  }

  /** Runs work outside of the ambient transaction, and free of its scope's signal and deadline: for background jobs. */
  detached<T>(work: () => T): T {
    return runDetached(this, work)
  }

  /**
   * Asks the server for a sign of life, over a connection of its own, so that a full pool does not make it wait.
   * Gives up after a second unless told otherwise.
   *
   * @throws ConnectionError | QueryTimeoutError | NotConnectedError
   */
  async ping(options?: QueryOptions): Promise<void> {
    const { signal, timeoutMillis = DEFAULT_PING_MILLIS } = checked(options, QUERY_OPTIONS) ?? {}
    await this.#life.pool.controlConnection.ping(Limits.of({ signal, timeoutMillis }, 'ping'))
  }

  /** What operators should know of its connections: what their user may do, and who could listen in on the way. */
  async security(): Promise<Security> {
    return this.use(Limits.of(undefined, ''), STREAM, (lease, limits) => this.backend.security(lease, limits))
  }

  /** The pool's figures at this moment. */
  stats(): PoolStats {
    return this.#life.current?.stats() ?? noStats(this.backend.settings.pool)
  }

  /** Who has a connection now, longest first. */
  holders(): readonly Holder[] {
    return this.#current.forced?.holders() ?? this.#life.current?.holders() ?? []
  }

  on<E extends keyof DatabaseEvents>(event: E, listener: (...args: DatabaseEvents[E]) => void): this {
    this.#events.on(event, listener as never) // Node's types lose the pair of name and payload in a generic call
    return this
  }

  off<E extends keyof DatabaseEvents>(event: E, listener: (...args: DatabaseEvents[E]) => void): this {
    this.#events.off(event, listener as never)
    return this
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.disconnect()
  }

  [inspect.custom](): string {
    return `Database(${this.url.toString()})` // without its password
  }

  protected override use<T>(limits: Limits, access: Access, work: Work<T>): Promise<T> {
    const bound = this.#current.statements()
    return bound?.use(limits, access, work) ?? withLease(this.#life.pool, limits, access, work)
  }

  protected override streamSource(limits: Limits): StreamSource {
    const bound = this.#current.statements()
    if (bound !== null) return bound.streamSource(limits)
    const pool = this.#life.pool
    if (!this.backend.dialect.isSingle) return dedicatedSource(pool, limits)
    // Not always on the pool: whoever reads it in a transaction that has begun meanwhile holds the one connection.
    return sharedSource(limits, (bounded, work) => this.use(bounded, STREAM, work))
  }

  get #lender(): ConnectionSource {
    return { backend: this.backend, key: this, pool: this.#life.pool }
  }
}
