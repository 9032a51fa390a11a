/** Knex's client class, taught to run on leased connections: plain `await database.knex(…)` joins the scope. */
import type { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import knex, { type Knex } from 'knex'
import { ConfigurationError, type QueryTimeoutError } from '../errors'
import { Limits, queryTimeoutError } from '../context/limits'
import { asDriverSays, knexTimeout } from './errors'
import { hostOf, type LeasedClient } from './host'
import type { KnexQuery } from '../sql/compiler'
import { TransactionPlace } from './places'
import { type Builder, leased, type Runner, untilClosed } from './runner'
import { type Container, savepointIn, type TransactionConfig, transactionOn } from './knex-transaction'
import type { StreamSource, StatementRunner } from '../pool/lease'
import { multiStatementError } from '../sql/compiler'

interface StreamOptions {
  readonly batchSize?: number
  readonly highWaterMark?: number
}

/** The same class on both dialects, since what differs is in the sessions. Tried with Knex 3.3.0. */
export function leasedClient(Base: typeof Knex.Client): typeof Knex.Client {
  return class extends Base {
    declare readonly place?: StatementRunner
    declare readonly driverConnection?: object
    declare readonly transacting?: boolean

    static {
      Object.defineProperty(this, 'name', { value: knexClassOf(Base).name })
      Object.defineProperty(this.prototype, 'pool', {
        get(this: LeasedClient) {
          return hostOf(this).figures
        },
      })
    }

    /** Lends are made by our pool; Knex gets none of its own. */
    override initializePool(): void {}

    override destroy(): Promise<never> {
      return Promise.reject(
        new ConfigurationError(
          'The Knex instance belongs to its Database. Call database.disconnect() instead of knex.destroy().',
        ),
      )
    }

    /** `.timeout(ms, { cancel: true })` is what we do in any case, and on every database. */
    override assertCanCancelQuery(): void {}

    /** Called when that has been done. */
    // oxlint-disable-next-line typescript/no-misused-promises -- Knex waits for it, whatever its type says
    override async cancelQuery(): Promise<void> {}

    override acquireConnection(): Promise<object> {
      return hostOf(this).acquire()
    }

    override releaseConnection(raw: object): Promise<void> {
      return hostOf(this).release(raw)
    }

    override runner(builder: Builder): Runner {
      return leased(super.runner(builder) as Runner, this, builder)
    }

    override transaction(work: Container, config?: TransactionConfig, outer?: object): Knex.Transaction {
      const make = (client: object, container: Container): unknown =>
        super.transaction.call(client, container, config, outer)
      return this.transacting === true
        ? savepointIn(this, work, make)
        : transactionOn(this, work, config, make)
    }

    /** The one way of every statement of Knex, with those that it sends by itself. */
    async _query(raw: object, query: KnexQuery): Promise<KnexQuery> {
      const host = hostOf(this)
      const millis = query.timeout || Infinity
      // Knex reads it when this returns, and would give the connection away while the statement runs on.
      if (query.timeout) query.timeout = false
      let late: QueryTimeoutError | undefined
      const limits = Limits.of(undefined, query.sql).within(millis, (cause) => {
        late = queryTimeoutError(query.sql, `timeout(${millis}) of its builder`, cause)
        return late
      })
      try {
        const place = this.place ?? host.groundOf(raw)
        const isOwn = query.method === undefined && place instanceof TransactionPlace
        const ended = isOwn ? place.control(query.sql) : undefined
        if (ended !== undefined) {
          await ended
          return query
        }
        const statement = host.statementOf(query)
        const { forKnex } = await place.use(limits, statement.facts, (lease, bounded) =>
          isOwn ? lease.runUnchecked(statement, bounded) : lease.run(statement, bounded),
        )
        return Object.assign(query, forKnex)
      } catch (error) {
        if (late === undefined || error !== late) throw asDriverSays(error, query.bindings ?? [])
        Object.assign(query, { timeout: millis, cancelOnTimeout: true })
        throw knexTimeout(late)
      }
    }

    async _stream(raw: object, query: KnexQuery, stream: Transform, options?: StreamOptions): Promise<void> {
      const host = hostOf(this)
      const statement = host.statementOf(query)
      if (statement.facts.isMultiStatement) throw multiStatementError(statement.sql)
      const limits = untilClosed(stream)
      const reading = (this.place ?? host.groundOf(raw)).streamSource(limits)
      const use: StreamSource['use'] = async (work) => {
        try {
          return await reading.use(work)
        } catch (error) {
          throw asDriverSays(error, statement.bindings)
        }
      }
      const batchSize = options?.batchSize ?? options?.highWaterMark ?? null
      await pipeline(host.rows({ ...reading, use }, statement, limits, batchSize), stream)
    }
  }
}

/** Knex's own class for a database, by whose name plug-ins know it. */
function knexClassOf(Client: typeof Knex.Client): typeof Knex.Client {
  const Parent = Object.getPrototypeOf(Client) as typeof Knex.Client
  return Parent === knex.Client ? Client : knexClassOf(Parent)
}
