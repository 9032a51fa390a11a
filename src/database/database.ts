/** One logical database: connected at start-up, lent per query, transaction or request, disconnected at the end. */
import type { BackendOptions } from './options'
import {
  type Connection,
  checkOptions,
  checkTransactionOptions,
  checkWork,
  QUERY_OPTIONS,
  type QueryOptions,
  type Transaction,
  type TransactionOptions,
} from './query/queryable'
import { inspect } from 'node:util'
import type { Knex } from 'knex'
import { CurrentTransaction } from './transaction/current'
import { createBackend, type DatabaseBackend } from './create-backend'
import { type Access, STREAM } from './driver/statement'
import type { Security } from './driver/dialect'
import type { StreamSource, Work } from './pool/lease'
import type { Pool } from './pool/pool'
import { noStats, type PoolStats } from './pool/pool-context'
import {
  beginTransaction,
  acquireConnection,
  type ConnectionSource,
  runTransaction,
  withConnection,
  withJoinedConnection,
} from './transaction/with-connection'
import { HeldConnection, JoinedConnection } from './transaction/connection'
import { type Holder, NotConnectedError } from './errors'
import { type DatabaseEvents, Events } from './events'
import { exclusively } from './exclusive-work'
import { ForcedRollback } from './transaction/force-rollback'
import { knexLender } from './knex-lender'
import { Lifecycle } from './lifecycle'
import { Limits } from './context/limits'
import { dedicatedSource, sharedSource } from './pool/stream-source'
import type { Observer } from './observer'
import { runBound, runDetached } from './context/scope'
import { DatabaseURL } from './url'
import type { TableBuilder, TableName } from './tables'
import type { WholeRows } from './query/inferred-rows'
import { QueryMethods } from './query/query-methods'
import { lazyConnection, lazyTransaction, type LazyTransactionOptions } from './transaction/lazy-transaction'

const DEFAULT_GRACE_MILLIS = 10_000
const DEFAULT_PING_MILLIS = 1000

/** The options of a Database. */
export interface DatabaseOptions extends BackendOptions {
  /** Runs once on every new connection, before it is lent: SET, PRAGMA. */
  readonly afterConnect?: (connection: Connection) => Promise<void>
  /** One transaction from connect() to disconnect(), always rolled back: for tests. */
  readonly forceRollback?: boolean
}

/**
 * A database. The constructor does no I/O; `connect()` opens the pool, `disconnect()` closes it.
 *
 * Every query takes a connection of its own from the pool and gives it back, except inside `transaction(work)` and
 * `connection(work)`: there all queries of the work run on one connection, and so in one transaction, without a handle
 * being passed along.
 *
 * `Tables` is an interface of the database's tables, by which builders know their columns: `{ users: { id: number } }`.
 *
 * @throws ConfigurationError for a URL or an option that is wrong
 * @example
 * const database = new Database('sqlite:///blog.db')
 * await database.connect()
 * const posts = await database.fetchAll('SELECT * FROM posts WHERE author_id = :author', { author: 1 })
 * await database.disconnect()
 */
// oxlint-disable-next-line typescript/no-explicit-any -- any tables: a function that takes a Database takes all of them
export class Database<Tables extends object = any> extends QueryMethods implements AsyncDisposable {
  readonly url: DatabaseURL
  /** How long connect() retries before it fails. */
  readonly connectTimeoutMillis: number
  protected readonly backend: DatabaseBackend
  readonly #events = new Events()
  readonly #lifecycle: Lifecycle
  readonly #current = new CurrentTransaction(this)

  constructor(url: string | DatabaseURL, options: DatabaseOptions = {}) {
    super()
    this.url = new DatabaseURL(url)
    const { afterConnect, forceRollback = false, ...backendOptions } = options
    checkTransactionOptions({ forceRollback })
    if (afterConnect !== undefined) checkWork('afterConnect', afterConnect)
    const lender = knexLender(this, this.#current, () => this.#source, {
      use: async (limits, access, work) => this.use(limits, access, work),
      streamSource: (limits) => this.streamSource(limits),
    })
    this.backend = createBackend(this.url, backendOptions, this.#events, lender)
    this.connectTimeoutMillis = this.backend.settings.connectTimeoutMillis
    this.#lifecycle = new Lifecycle(this.backend, this.#events, {
      // A key of its own keeps this connection out of every scope of the Database.
      prepare: async (lease) => afterConnect?.(new HeldConnection(this.backend, {}, null, lease)),
      opened: async (pool) => {
        if (forceRollback) await this.#current.force(() => ForcedRollback.begin(this.backend, this, pool))
      },
      closing: () => this.#current.endForced(true),
    })
  }

  /** The Database's name in logs and errors. */
  get name(): string {
    return this.backend.settings.name
  }

  /** True between connect() and disconnect(). ping() tells whether the server answers. */
  get isConnected(): boolean {
    return this.#lifecycle.isConnected
  }

  /** The one Knex instance. Builders made with it can be awaited, and join the transaction of their scope. */
  get knex(): Knex {
    return this.backend.knex
  }

  /**
   * Returns a Knex builder for a table, like `database.knex(name)`. It knows the table's columns, if `Tables` or Knex's own
   * `Tables` declares them; for a table that is not declared, the caller may claim its rows, as `T`.
   */
  table<T extends object = never>(
    name: [T] extends [never] ? never : string,
  ): Knex.QueryBuilder<T, WholeRows<T>>
  table<Name extends TableName<Tables>>(name: Name): TableBuilder<Tables, Name>
  table(name: string): Knex.QueryBuilder {
    return this.backend.knex(name)
  }

  /**
   * Opens the pool, and one connection to prove that the URL is right. Safe to call more than once, and by several
   * callers at the same time. Retries while the server is still starting, until `connectTimeoutMillis` is over.
   *
   * @throws ConnectionError when the database cannot be reached, with the driver's reason as its cause
   */
  connect(): Promise<void> {
    return this.#lifecycle.connect()
  }

  /**
   * Refuses new work from now on, lets running work finish within the grace, then cancels the rest and closes every
   * connection. Does nothing when not connected. Rejects only for wrong options.
   */
  async disconnect(options?: { readonly graceMillis?: number }): Promise<void> {
    const graceMillis = checkOptions(options, ['graceMillis'])?.graceMillis ?? DEFAULT_GRACE_MILLIS
    await this.#lifecycle.disconnect(graceMillis)
  }

  /** Runs work with one connection, which all queries of the work use. Inside a transaction it is the transaction's. */
  async connection<T>(work: (connection: Connection) => Promise<T>): Promise<T> {
    checkWork('connection', work)
    const found = this.#current.get()
    const node = found instanceof Promise ? await found : found
    if (node instanceof HeldConnection) return work(node)
    if (node !== null)
      return withJoinedConnection(new JoinedConnection(node, this.#current.statementsOf(node)), work)
    return withConnection(this.#source, Limits.of(undefined, ''), false, (connection) =>
      runBound(this, connection, () => work(connection)),
    )
  }

  /** Takes a connection that the caller releases, also by `await using`. Only queries made on it use it. */
  async acquire(): Promise<Connection> {
    const { forced } = this.#current
    if (forced !== null) return forced.track(new JoinedConnection(forced.node, forced))
    return acquireConnection(this.#source)
  }

  override async transaction<T>(
    work: (tx: Transaction) => Promise<T>,
    options: TransactionOptions = {},
  ): Promise<T> {
    const found = this.#current.get()
    const node = found instanceof Promise ? await found : found
    if (node !== null) return node.transaction(work, options)
    checkTransactionOptions(options, work)
    return runTransaction(this.#source, work, options)
  }

  override async begin(options: TransactionOptions = {}): Promise<Transaction> {
    const found = this.#current.get()
    const node = found instanceof Promise ? await found : found
    if (node !== null) return this.#current.beginIn(node, options)
    checkTransactionOptions(options)
    return beginTransaction(this.#source, options)
  }

  /**
   * Runs work in a transaction that begins, and takes its connection, at the first query: for work that may make none, or
   * first waits for something else, such as the body of a request. `begin`, if given, runs in it before that query; if it
   * fails, no query of the work runs, and its error is thrown even if the work succeeds.
   */
  async transactionOnDemand<T>(work: () => Promise<T>, options: LazyTransactionOptions = {}): Promise<T> {
    const { begin: _begin, ...transactionOptions } = options
    checkTransactionOptions(transactionOptions, work)
    return lazyTransaction(this, this.#current, () => this.#source, work, options)
  }

  /**
   * Runs work with a connection that its first query takes. Inside a transaction or a held connection it is theirs. `begin`
   * is as for {@link transactionOnDemand}.
   */
  async connectionOnDemand<T>(
    work: () => Promise<T>,
    options: { readonly begin?: (connection: Connection) => unknown } = {},
  ): Promise<T> {
    checkWork('connectionOnDemand', work)
    const begin = checkOptions(options, ['begin'])?.begin
    const runBegin = begin && (() => this.connection(async (connection) => begin(connection)))
    return lazyConnection(this, this.#current, () => this.#source, work, runBegin)
  }

  /**
   * Returns a function that runs work in a transaction: the caller's, if there is one, else a new one.
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
   * Runs work, then rolls back everything that was done on this Database meanwhile, by any caller: for tests.
   * Transactions are savepoints meanwhile, and take turns; their isolation and other modes do not apply.
   *
   * With `inScope`, only what the work itself does is rolled back, on a connection of its own: any number may run at once.
   *
   * @throws TransactionError inside a transaction, a held connection or another forceRollback()
   */
  async forceRollback<T>(work: () => Promise<T>, options?: { readonly inScope?: boolean }): Promise<T> {
    checkWork('forceRollback', work)
    const { inScope = false } = checkOptions(options, ['inScope']) ?? {}
    const pool = this.#pool
    const begin = (): Promise<ForcedRollback> => ForcedRollback.begin(this.backend, this, pool)
    if (inScope) return this.#current.forceInScope(begin, work)
    await this.#current.force(begin)
    try {
      return await work()
    } finally {
      await this.#current.endForced(false)
    }
  }

  /**
   * Runs work while no other work of that name runs on this database, in any process; waits for its turn. A killed
   * process releases the lock. On SQLite an empty file stays beside the database.
   */
  async exclusively<T>(name: string, work: () => Promise<T>, options?: QueryOptions): Promise<T> {
    return exclusively(this.backend, name, work, options, () => this.#pool)
  }

  /**
   * Calls `handler` with the payload of each notification that is sent to a channel of PostgreSQL, until what this
   * resolves to is disposed, or the Database disconnects. All channels share one connection beside the pool, which keeps
   * the process alive, as a server does. After a loss it is opened again, and `onReconnect` is called: what was sent in
   * between is gone. Both run outside of every scope, and an error of theirs is uncaught, as that of an event's listener.
   *
   * @throws ConfigurationError for a database other than PostgreSQL, or a name of more than 63 bytes
   * @throws ConnectionError | NotConnectedError
   * @example
   * await using listening = await database.listen('posts', (id) => cache.delete(id), { onReconnect: () => cache.clear() })
   */
  async listen(
    channel: string,
    handler: (payload: string) => unknown,
    options?: { readonly onReconnect?: () => unknown },
  ): Promise<AsyncDisposable> {
    checkWork('listen', handler)
    const { onReconnect } = checkOptions(options, ['onReconnect']) ?? {}
    if (onReconnect !== undefined) checkWork('onReconnect', onReconnect)
    return this.#pool.listener.listen(channel, handler, onReconnect)
  }

  /** Runs work outside the current transaction, without its scope's signal and deadline: for background jobs. */
  detached<T>(work: () => T): T {
    return runDetached(this, work)
  }

  /**
   * Sends the server a trivial statement over a connection outside the pool, so that it never waits for a full pool.
   * Fails after a second, or after `timeoutMillis`.
   *
   * @throws ConnectionError | QueryTimeoutError | NotConnectedError
   */
  async ping(options?: QueryOptions): Promise<void> {
    const { signal, timeoutMillis = DEFAULT_PING_MILLIS } = checkOptions(options, QUERY_OPTIONS) ?? {}
    await this.#pool.controlConnection.ping(Limits.of({ signal, timeoutMillis }, 'ping'))
  }

  /** Returns what the connections' user may do, and whether the connection is protected on its way. */
  async security(): Promise<Security> {
    return this.use(Limits.of(undefined, ''), STREAM, (lease, limits) => this.backend.security(lease, limits))
  }

  /** Returns a snapshot of the pool's figures. */
  stats(): PoolStats {
    return this.#lifecycle.pool?.stats() ?? noStats(this.backend.settings.pool)
  }

  /** Returns the current holders of connections, longest first. */
  holders(): readonly Holder[] {
    return this.#current.forced?.holders() ?? this.#lifecycle.pool?.holders() ?? []
  }

  on<E extends keyof DatabaseEvents>(event: E, listener: (...args: DatabaseEvents[E]) => void): this {
    this.#events.on(event, listener as never) // Node's types lose the pair of name and payload in a generic call
    return this
  }

  off<E extends keyof DatabaseEvents>(event: E, listener: (...args: DatabaseEvents[E]) => void): this {
    this.#events.off(event, listener as never)
    return this
  }

  /** Adds an observer of what runs from now on, as `logQueries` and `traceQueries` do. Returns how to remove it. */
  observe(observer: Observer): () => void {
    return this.#events.observe(observer)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.disconnect()
  }

  [inspect.custom](): string {
    return `Database(${this.url.toString()})` // without its password
  }

  protected override use<T>(limits: Limits, access: Access, work: Work<T>): Promise<T> {
    const statements = this.#current.statements()
    return statements?.use(limits, access, work) ?? this.#pool.use(limits, access, work)
  }

  protected override streamSource(limits: Limits): StreamSource {
    const statements = this.#current.statements()
    if (statements !== null) return statements.streamSource(limits)
    const pool = this.#pool
    if (!this.backend.dialect.isSingle) return dedicatedSource(pool, limits)
    // Not on the pool: if the caller reads it inside a transaction, that transaction holds the only connection.
    return sharedSource(limits, (bounded, work) => this.use(bounded, STREAM, work))
  }

  get #source(): ConnectionSource {
    return { backend: this.backend, key: this, pool: this.#pool }
  }

  /** @throws NotConnectedError */
  get #pool(): Pool {
    const { pool } = this.#lifecycle
    if (pool !== null) return pool
    throw new NotConnectedError(
      `Database '${this.name}' is not connected. Call await database.connect() first.`,
    )
  }
}
