/** Knex's client class, taught to run on leased connections: plain `await database.knex(…)` joins the scope. */
import { Readable } from 'node:stream'
import type { Knex } from 'knex'
import { ConfigurationError, TransactionError } from '../errors'
import { type Access, WRITE } from './dialect'
import type { Lease } from './lease'
import { uncompilable } from './statement'

/** How Knex gets at connections. It lives in Knex's `config`, because the client of a Knex transaction has nothing else. */
export interface KnexDoor {
  /** Runs work on the connection that the current scope has, or on one from the pool. */
  use<T>(access: Access, work: (lease: Lease) => Promise<T>): Promise<T>
  /** For Knex's own transactions, which the migrations run in. */
  acquire(): Promise<Lease>
  release(lease: Lease): Promise<void>
  leaseOf(raw: object): Lease | undefined
  run(lease: Lease, query: KnexQuery): Promise<KnexQuery>
  iterate(builder: Knex.QueryBuilder): AsyncIterable<unknown>
  accessOf(sql: string): Access
}

/** A compiled query as it goes through Knex; `response` and `context` are what its dialects read back. */
export interface KnexQuery {
  sql: string
  bindings?: readonly unknown[]
  method?: string
  returning?: unknown
  options?: object
  /** What `.timeout(ms)` asks for: Knex waits by it, until it is taken over as `timeoutMillis`. */
  timeout?: number | false
  timeoutMillis?: number
  response?: unknown
  context?: unknown
}

/** What Knex's builders know about themselves, and its types do not say. */
interface Builder {
  readonly _connection?: object
  readonly _method?: string
  readonly sql?: unknown
  toSQL(): { readonly sql?: unknown }
}

type Run = (runner: Runner, params?: object) => Promise<unknown>

interface Runner {
  connection?: object
  ensureConnection(run: Run, params?: object): Promise<unknown>
  stream(options?: unknown, handler?: unknown): unknown
}

type Config = Knex.Config & { millpond: KnexDoor }

/**
 * What Knex's own transactions hold instead of the driver's connection: that one may be somebody else's by the time they
 * come back to it.
 */
const handles = new WeakMap<object, Lease>()

const READ_METHODS = new Set(['select', 'first', 'pluck'])

/** The same class on both dialects, since what differs is in the sessions. */
export function leasedClient(Base: typeof Knex.Client): typeof Knex.Client {
  return class LeasedClient extends Base {
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

    /** Reached only by Knex's own transactions: builders go through the runner. */
    override async acquireConnection(): Promise<object> {
      const lease = await doorOf(this).acquire()
      const handle = Object.create(lease.session.raw) as object
      handles.set(handle, lease)
      return handle
    }

    override async releaseConnection(raw: object): Promise<void> {
      const lease = handles.get(raw) ?? doorOf(this).leaseOf(raw)
      if (lease !== undefined) await doorOf(this).release(lease)
    }

    override runner(builder: Builder): Runner {
      const runner = super.runner(builder) as Runner
      // Inside of a Knex transaction, or on a connection that somebody chose, Knex knows where to run.
      if ((this as { transacting?: boolean }).transacting === true || builder._connection !== undefined)
        return runner
      const door = doorOf(this)
      runner.ensureConnection = (run, params) =>
        door.use(accessOf(door, builder), (lease) => {
          runner.connection = lease.session.raw
          return started(builder, () => run(runner, params))
        })
      // Knex's own gives its connection back twice, so that a stranger's statements land in your transaction:
      // https://github.com/knex/knex/issues/6288
      runner.stream = (options, handler) => {
        const rows = door.iterate(builder as Knex.QueryBuilder)
        const stream = Readable.from(rows, { highWaterMark: 64 })
        // A loop over the stream is a loop over the rows: left early, it has given the connection back when it ends.
        Object.defineProperty(stream, Symbol.asyncIterator, { value: () => rows[Symbol.asyncIterator]() })
        const given = typeof options === 'function' ? options : handler
        if (typeof given !== 'function') return stream
        return new Promise<void>((resolve, reject) => {
          stream.once('close', resolve).once('error', reject)
          given(stream)
        })
      }
      return runner
    }

    /** The one way of every statement that Knex itself runs. Without the SQL that Knex puts in front of messages. */
    override async query(raw: object, query: string | KnexQuery): Promise<KnexQuery> {
      const full: KnexQuery = typeof query === 'string' ? { sql: query } : query
      full.bindings = this.prepBindings(full.bindings ?? []) as readonly unknown[]
      full.sql = this.positionBindings(full.sql) as string
      // Knex reads it when this returns, and would give the connection away while the statement runs on.
      if (full.timeout) full.timeoutMillis = full.timeout
      full.timeout = false
      const told = { ...(raw as { __knexUid?: string; __knexTxId?: string }), ...full }
      this.emit('query', told)
      try {
        return await this._query(raw, full)
      } catch (error) {
        this.emit('query-error', error, told)
        throw error
      }
    }

    _query(raw: object, query: KnexQuery): Promise<KnexQuery> {
      const lease = handles.get(raw) ?? doorOf(this).leaseOf(raw)
      if (lease === undefined) {
        throw new TransactionError(
          'The connection was not taken from this Database, so nothing can be run on it.',
        )
      }
      return doorOf(this).run(lease, query)
    }
  }
}

/** Knex compiles the builder before it promises anything. */
function started(builder: Builder, run: () => Promise<unknown>): Promise<unknown> {
  try {
    return run()
  } catch (error) {
    // What a listener of Knex's `start` throws is its own affair.
    refuseUncompilable(builder)
    throw error
  }
}

/** @throws BindError when Knex cannot make a statement of the builder */
function refuseUncompilable(builder: Builder): void {
  try {
    builder.toSQL()
  } catch (cause) {
    throw uncompilable(cause)
  }
}

/** Knex makes the client of a transaction without running its constructor: it has a config, and nothing of ours. */
function doorOf(client: Knex.Client): KnexDoor {
  return (client.config as Config).millpond
}

function accessOf(door: KnexDoor, builder: Builder): Access {
  if (builder._method === undefined)
    return typeof builder.sql === 'string' ? door.accessOf(builder.sql) : WRITE
  return {
    isRead: READ_METHODS.has(builder._method),
    // Compiled for this only when it is worth knowing: after a connection was lost.
    get isRepeatable() {
      const { sql } = builder.toSQL()
      return typeof sql === 'string' && door.accessOf(sql).isRepeatable
    },
  }
}
