/** The Knex instance of a Database, whose client runs on leased connections: plain `await database.knex(…)` joins the scope. */
import type { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import knex, { type Knex } from 'knex'
import { ConfigurationError, type QueryTimeoutError } from '../errors'
import { Limits, queryTimeoutError } from '../context/limits'
import { restoreDriverFields, knexTimeout } from './errors'
import type { Dialect } from '../driver/dialect'
import type { Settings } from '../options'
import type { DatabaseURL } from '../url'
import { HOST, hostOf, type KnexHost, type LeasedClient } from './host'
import type { KnexQuery } from '../sql/builder-compiler'
import { type Builder, leaseRunner, type Runner, limitsUntilClosed } from './runner'
import {
  type Container,
  KnexTransactionExecutor,
  savepointIn,
  type TransactionConfig,
  transactionOn,
} from './knex-transaction'
import type { StreamSource, StatementRunner } from '../pool/lease'
import { multiStatementError } from '../sql/parser'

interface StreamOptions {
  readonly batchSize?: number
  readonly highWaterMark?: number
}

/** Creates the Knex instance of a Database. Its statements run on connections that `host` lends. No I/O. */
export function createKnex(url: DatabaseURL, dialect: Dialect, settings: Settings, host: KnexHost): Knex {
  return knex({
    // Knex would write bound values into messages.
    compileSqlOnError: false,
    ...mergedConfig(url, dialect, settings),
    client: leasedClient(dialect.Client),
    [HOST]: host,
  } as Knex.Config)
}

/** Returns the dialect's configuration for Knex, changed by the URL's parameters and the option `knex`. */
export function mergedConfig(url: DatabaseURL, dialect: Dialect, settings: Settings): Knex.Config {
  const base = dialect.knexConfig(url, settings)
  const overrides = settings.knex
  return {
    ...base,
    ...overrides,
    connection: { ...(base.connection as object), ...(overrides.connection as object | undefined) },
  } as Knex.Config
}

/** Returns a subclass of a dialect's client that takes its connections from the Database. Tried with Knex 3.3.0. */
function leasedClient(Base: typeof Knex.Client): typeof Knex.Client {
  return class extends Base {
    declare readonly executor?: StatementRunner
    declare readonly driverConnection?: object
    declare readonly transacting?: boolean

    static {
      Object.defineProperty(this, 'name', { value: knexClassOf(Base).name })
      Object.defineProperty(this.prototype, 'pool', {
        get(this: LeasedClient) {
          return hostOf(this).poolCounters
        },
      })
    }

    /** Creates no pool: the Database lends the connections. */
    override initializePool(): void {}

    override destroy(): Promise<never> {
      return Promise.reject(
        new ConfigurationError(
          'The Knex instance belongs to its Database. Call database.disconnect() instead of knex.destroy().',
        ),
      )
    }

    /** Accepts `.timeout(ms, { cancel: true })`: a timeout always cancels the statement, on every database. */
    override assertCanCancelQuery(): void {}

    /** Does nothing: Knex calls this after the statement has been cancelled already. */
    // oxlint-disable-next-line typescript/no-misused-promises -- Knex waits for it, whatever its type says
    override async cancelQuery(): Promise<void> {}

    override acquireConnection(): Promise<object> {
      return hostOf(this).acquire()
    }

    override releaseConnection(raw: object): Promise<void> {
      return hostOf(this).release(raw)
    }

    override runner(builder: Builder): Runner {
      return leaseRunner(super.runner(builder) as Runner, this, builder)
    }

    override transaction(work: Container, config?: TransactionConfig, outer?: object): Knex.Transaction {
      const create = (client: object, container: Container): unknown =>
        super.transaction.call(client, container, config, outer)
      return this.transacting === true
        ? savepointIn(this, work, create)
        : transactionOn(this, work, config, create)
    }

    /** Runs every statement of Knex, including those that Knex sends by itself. */
    async _query(raw: object, query: KnexQuery): Promise<KnexQuery> {
      const host = hostOf(this)
      const timeoutMillis = query.timeout || Infinity
      // Knex reads the timeout when this returns, and would release the connection while the statement still runs.
      if (query.timeout) query.timeout = false
      let timeoutError: QueryTimeoutError | undefined
      const limits = Limits.of(undefined, query.sql).within(timeoutMillis, (cause) => {
        timeoutError = queryTimeoutError(query.sql, `timeout(${timeoutMillis}) of its builder`, cause)
        return timeoutError
      })
      try {
        const executor = this.executor ?? host.transactionParentOf(raw)
        const isKnexOwn = query.method === undefined && executor instanceof KnexTransactionExecutor
        const control = isKnexOwn ? executor.control(query.sql) : undefined
        if (control !== undefined) {
          await control
          return query
        }
        const statement = host.statementOf(query)
        const { forKnex } = await executor.use(limits, statement.facts, (lease, bounded) =>
          isKnexOwn ? lease.runUnchecked(statement, bounded) : lease.run(statement, bounded),
        )
        return Object.assign(query, forKnex)
      } catch (error) {
        if (timeoutError === undefined || error !== timeoutError)
          throw restoreDriverFields(error, query.bindings ?? [])
        Object.assign(query, { timeout: timeoutMillis, cancelOnTimeout: true })
        throw knexTimeout(timeoutError)
      }
    }

    async _stream(raw: object, query: KnexQuery, stream: Transform, options?: StreamOptions): Promise<void> {
      const host = hostOf(this)
      const statement = host.statementOf(query)
      if (statement.facts.isMultiStatement) throw multiStatementError(statement.sql)
      const limits = limitsUntilClosed(stream)
      const source = (this.executor ?? host.transactionParentOf(raw)).streamSource(limits)
      const use: StreamSource['use'] = async (work) => {
        try {
          return await source.use(work)
        } catch (error) {
          throw restoreDriverFields(error, statement.bindings)
        }
      }
      const batchSize = options?.batchSize ?? options?.highWaterMark ?? null
      await pipeline(host.rows({ ...source, use }, statement, limits, batchSize), stream)
    }
  }
}

/** Returns Knex's own class for a database: plug-ins recognize the database by its name. */
function knexClassOf(Client: typeof Knex.Client): typeof Knex.Client {
  const Parent = Object.getPrototypeOf(Client) as typeof Knex.Client
  return Parent === knex.Client ? Client : knexClassOf(Parent)
}
