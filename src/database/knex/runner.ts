/** Gives Knex's runner, which runs one builder, its connection. Tried with Knex 3.3.0. */
import type { Transform } from 'node:stream'
import type { Knex } from 'knex'
import { Canceller } from '../context/canceller'
import { QueryCanceledError } from '../errors'
import { Limits } from '../context/limits'
import { type Access, STREAM, WRITE } from '../driver/statement'
import { restoreDriverFields } from './errors'
import { hostOf, type KnexHost, type LeasedClient } from './host'
import type {
  BegunTransaction,
  Lease,
  StatementRunner,
  StreamSource,
  TransactionParent,
  Work,
} from '../pool/lease'
import { sharedSource } from '../pool/stream-source'

/** Members of Knex's builders that its types leave out. */
export interface Builder {
  readonly _connection?: object
  readonly _method?: string
  readonly sql?: unknown
  toSQL(): { readonly sql?: unknown }
}

/** Runs the builder once the runner has a connection. `params` are given for a stream. */
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

/** Runs a builder's statements in a turn that the caller has taken, so that they need not wait for one. */
export class BuilderExecutor implements TransactionParent {
  readonly #lease: Lease
  readonly #host: KnexHost

  constructor(lease: Lease, host: KnexHost) {
    this.#lease = lease
    this.#host = host
  }

  use<T>(limits: Limits, _access: Access, work: Work<T>): Promise<T> {
    return work(this.#lease, limits.and(this.#lease.limits))
  }

  streamSource(limits: Limits): StreamSource {
    return sharedSource(limits, (bounded, work) => this.use(bounded, STREAM, work))
  }

  /** Begins the transaction that some schema changes on SQLite need; inside a transaction, a savepoint. */
  async begin(): Promise<BegunTransaction> {
    const [begin, commit, rollback] = this.#lease.transactions > 0 ? SAVEPOINT : TRANSACTION
    await this.#send(begin)
    return {
      use: (limits, access, work) => this.use(limits, access, work),
      streamSource: (limits) => this.streamSource(limits),
      commit: () => this.#send(commit),
      rollback: () => this.#send(rollback),
    }
  }

  async #send(texts: readonly string[]): Promise<void> {
    for (const sql of texts)
      await this.#lease.runUnchecked(this.#host.statementOf({ sql }), this.#lease.limits)
  }
}

const TRANSACTION = [['BEGIN'], ['COMMIT'], ['ROLLBACK']] as const
const SAVEPOINT = [
  ['SAVEPOINT millpond_knex'],
  ['RELEASE SAVEPOINT millpond_knex'],
  ['ROLLBACK TO SAVEPOINT millpond_knex', 'RELEASE SAVEPOINT millpond_knex'],
] as const

/** Binds Knex's runner of one builder to a connection. */
class RunnerBinding {
  readonly #runner: Runner
  readonly #client: LeasedClient
  readonly #builder: Builder

  constructor(runner: Runner, client: LeasedClient, builder: Builder) {
    this.#runner = runner
    this.#client = client
    this.#builder = builder
  }

  async run(run: Run): Promise<unknown> {
    if (this.#bindGivenConnection()) return run(this.#runner)
    const host = hostOf(this.#client)
    try {
      const access = accessOf(host, this.#builder)
      return await host.use(Limits.of(undefined, ''), access, (lease) => this.runIn(lease, run))
    } catch (error) {
      throw restoreDriverFields(error, [])
    }
  }

  /** Runs the builder in a turn that the caller has taken. */
  async runIn(lease: Lease, run: Run): Promise<unknown> {
    const executor = new BuilderExecutor(lease, hostOf(this.#client))
    this.#bind(executor, lease.session.raw)
    if (!isSchema(this.#builder)) return run(this.#runner)
    // Knex changes SQLite tables through a client that has only the connection, and finds the executor by it here.
    const outer = lease.transactionParent
    lease.transactionParent = executor
    try {
      return await run(this.#runner)
    } finally {
      lease.transactionParent = outer
    }
  }

  /** Streams the rows. On a shared connection each batch takes its own turn. */
  async stream(run: Run, params: StreamParams): Promise<unknown> {
    const { stream } = params
    // Throws for a builder that Knex cannot compile, before a connection is taken.
    this.#builder.toSQL()
    try {
      if (this.#bindGivenConnection()) return await run(this.#runner, params)
      const source = hostOf(this.#client).streamSource(limitsUntilClosed(stream))
      try {
        const raw = await source.use(({ session }) => Promise.resolve(session.raw))
        this.#bind({ use: (_limits, _access, work) => source.use(work), streamSource: () => source }, raw)
        return await run(this.#runner, params)
      } finally {
        await source.release()
      }
    } catch (error) {
      // The reader has closed the stream.
      if (stream.destroyed && stream.errored === null) return undefined
      // Before there is a connection, Knex passes the error to the stream by itself.
      if (this.#runner.connection !== undefined) stream.destroy(error as Error)
      throw error
    }
  }

  /** Binds the runner to the builder's Knex transaction or given connection. Returns false if it has neither. */
  #bindGivenConnection(): boolean {
    const { _connection: given } = this.#builder
    if (this.#client.executor !== undefined) {
      this.#runner.connection = given ?? this.#client.driverConnection
      return true
    }
    if (given === undefined) return false
    this.#bind(hostOf(this.#client).transactionParentOf(given), given)
    // Knex would release the caller's connection at the end of a stream.
    Object.assign(this.#runner.client, { releaseConnection: () => Promise.resolve() })
    return true
  }

  #bind(executor: StatementRunner, raw: object): void {
    this.#runner.client = Object.assign(Object.create(this.#client) as object, {
      executor,
      driverConnection: raw,
    })
    this.#runner.connection = raw
  }
}

/** Makes a runner of Knex take its connection from the Database. */
export function leaseRunner(runner: Runner, client: LeasedClient, builder: Builder): Runner {
  const binding = new RunnerBinding(runner, client, builder)
  let running: Promise<unknown>
  runner.ensureConnection = (run, params) =>
    (running = params === undefined ? binding.run(run) : binding.stream(run, params))
  const stream = runner.stream.bind(runner)
  runner.stream = (handler, ...rest) => {
    if (typeof handler !== 'function') return stream(handler, ...rest)
    stream((rows: Transform) => {
      // The returned promise rejects with the error; Knex's own would resolve.
      rows.on('error', () => undefined)
      handler(rows)
    })
    return running
  }
  return runner
}

/** Runs a builder on a lease whose turn the caller has taken. */
export async function runBuilderOn(lease: Lease, client: Knex.Client, builder: object): Promise<unknown> {
  const runner = client.runner(builder) as Runner
  const binding = new RunnerBinding(runner, client, builder as Builder)
  runner.ensureConnection = (run) => binding.runIn(lease, run)
  return runner.run()
}

/** Returns limits that run out when the stream is closed: its reads and waits end then. */
export function limitsUntilClosed(stream: Transform): Limits {
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
    // A getter, since it compiles the builder: it is read only after a connection was lost.
    get isRepeatable() {
      const { sql } = builder.toSQL()
      return typeof sql === 'string' && host.accessOf(sql).isRepeatable
    },
  }
}
