/** Knex's runner, which sees a builder through: told where to run it. Tried with Knex 3.3.0. */
import type { Transform } from 'node:stream'
import type { Knex } from 'knex'
import { Canceller } from '../context/canceller'
import { QueryCanceledError } from '../errors'
import { Limits } from '../context/limits'
import { type Access, WRITE } from '../driver/statement'
import { asDriverSays } from './errors'
import { hostOf, type KnexHost, type LeasedClient } from './host'
import { Section } from './places'
import type { Lease, StatementRunner } from '../pool/lease'

/** What Knex's builders know about themselves, and its types do not say. */
export interface Builder {
  readonly _connection?: object
  readonly _method?: string
  readonly sql?: unknown
  toSQL(): { readonly sql?: unknown }
}

/** What a runner does once it has a connection; `params` are there for a stream. */
type Run = (runner: Runner, params?: StreamParams) => Promise<unknown>

interface StreamParams {
  readonly stream: Transform
}

export interface Runner {
  client: object
  connection: object | undefined
  ensureConnection(run: Run, params?: StreamParams): Promise<unknown>
  stream(...args: readonly unknown[]): unknown
  run(): Promise<unknown>
}

/** Gives Knex's runner of one builder its connection. */
class Placement {
  readonly #runner: Runner
  readonly #client: LeasedClient
  readonly #builder: Builder

  constructor(runner: Runner, client: LeasedClient, builder: Builder) {
    this.#runner = runner
    this.#client = client
    this.#builder = builder
  }

  async run(run: Run): Promise<unknown> {
    if (this.#isChosen()) return run(this.#runner)
    const host = hostOf(this.#client)
    try {
      const access = accessOf(host, this.#builder)
      return await host.use(Limits.of(undefined, ''), access, (lease) => this.runIn(lease, run))
    } catch (error) {
      throw asDriverSays(error, [])
    }
  }

  /** Runs it in a turn that was taken. */
  async runIn(lease: Lease, run: Run): Promise<unknown> {
    const section = new Section(lease, hostOf(this.#client))
    this.#put(section, lease.session.raw)
    if (!isSchema(this.#builder)) return run(this.#runner)
    // Changes to a table of SQLite are sent by a client that knows nothing but the connection.
    const outer = lease.transactionParent
    lease.transactionParent = section
    try {
      return await run(this.#runner)
    } finally {
      lease.transactionParent = outer
    }
  }

  /** Where others use the connection as well, each piece takes its turn anew. */
  async stream(run: Run, params: StreamParams): Promise<unknown> {
    const { stream } = params
    // What Knex cannot compile needs no connection.
    this.#builder.toSQL()
    try {
      if (this.#isChosen()) return await run(this.#runner, params)
      const reading = hostOf(this.#client).streamSource(untilClosed(stream))
      try {
        const raw = await reading.use(({ session }) => Promise.resolve(session.raw))
        this.#put({ use: (_limits, _access, work) => reading.use(work), streamSource: () => reading }, raw)
        return await run(this.#runner, params)
      } finally {
        await reading.release()
      }
    } catch (error) {
      // Its reader has left.
      if (stream.destroyed && stream.errored === null) return undefined
      // What comes before there is a connection, Knex tells the stream by itself.
      if (this.#runner.connection !== undefined) stream.destroy(error as Error)
      throw error
    }
  }

  /** Whether the builder is to run in a transaction of Knex, or on a connection that its caller has. */
  #isChosen(): boolean {
    const { _connection: chosen } = this.#builder
    if (this.#client.place !== undefined) {
      this.#runner.connection = chosen ?? this.#client.driverConnection
      return true
    }
    if (chosen === undefined) return false
    this.#put(hostOf(this.#client).groundOf(chosen), chosen)
    // Knex would give it back at the end of a stream.
    Object.assign(this.#runner.client, { releaseConnection: () => Promise.resolve() })
    return true
  }

  #put(place: StatementRunner, raw: object): void {
    this.#runner.client = Object.assign(Object.create(this.#client) as object, {
      place,
      driverConnection: raw,
    })
    this.#runner.connection = raw
  }
}

/** Has a runner of Knex take its connection from us. */
export function leased(runner: Runner, client: LeasedClient, builder: Builder): Runner {
  const placement = new Placement(runner, client, builder)
  let running: Promise<unknown>
  runner.ensureConnection = (run, params) =>
    (running = params === undefined ? placement.run(run) : placement.stream(run, params))
  const stream = runner.stream.bind(runner)
  runner.stream = (handler, ...rest) => {
    if (typeof handler !== 'function') return stream(handler, ...rest)
    stream((rows: Transform) => {
      // What goes wrong is told by the promise; Knex's own would resolve all the same.
      rows.on('error', () => undefined)
      handler(rows)
    })
    return running
  }
  return runner
}

/** Runs a builder in a turn that is taken already. */
export async function runOn(lease: Lease, client: Knex.Client, builder: object): Promise<unknown> {
  const runner = client.runner(builder) as Runner
  const placement = new Placement(runner, client, builder as Builder)
  runner.ensureConnection = (run) => placement.runIn(lease, run)
  return runner.run()
}

/** Ends what is read for a stream, or waited for, when nobody reads it any more. */
export function untilClosed(stream: Transform): Limits {
  const closed = new Canceller(() => new QueryCanceledError('The stream was closed.', ''))
  stream.once('close', () => {
    closed.abort()
  })
  return Limits.of(undefined, '').and(Limits.until(closed))
}

function isSchema(builder: Builder): boolean {
  return builder._method === undefined && typeof builder.sql !== 'string'
}

const READ_METHODS = new Set(['select', 'first', 'pluck'])

function accessOf(host: KnexHost, builder: Builder): Access {
  if (builder._method === undefined)
    return typeof builder.sql === 'string' ? host.accessOf(builder.sql) : WRITE
  return {
    isRead: READ_METHODS.has(builder._method),
    // Compiled for this only when it is worth knowing: after a connection was lost.
    get isRepeatable() {
      const { sql } = builder.toSQL()
      return typeof sql === 'string' && host.accessOf(sql).isRepeatable
    },
  }
}
