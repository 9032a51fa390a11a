/** The metrics of Databases for Prometheus, with the names that OpenTelemetry's metrics get there. */
import { Counter, Gauge, type Metric, Registry } from 'prom-client'
import { type Database, type DatabaseEvents, operationOf } from '../../database'
import { type Series, FastHistogram } from './fast-histogram'

const POOL = 'db_client_connection_pool_name'
const STATE = 'db_client_connection_state'

/** The bucket limits of histograms, in seconds, as OpenTelemetry's conventions advise. */
const SECONDS = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10]

type ObservedEvent = 'query' | 'create' | 'acquire' | 'release' | 'timeout' | 'leak' | 'cleanup' | 'retire'
type Listeners = { readonly [E in ObservedEvent]: (...args: DatabaseEvents[E]) => void }

/** The metrics, in a registry of their own that is separate from the application's. */
export class Prometheus {
  readonly #registry = new Registry()
  readonly #databases: ReadonlyMap<string, Database>
  readonly #unsubscribes: (() => void)[] = []

  readonly #operation = this.#histogram(
    'db_client_operation_duration_seconds',
    'How long a statement took, from being sent to its answer.',
    ['db_system_name', 'db_namespace', 'db_operation_name', 'error_type'],
  )
  readonly #wait = this.#histogram(
    'db_client_connection_wait_time_seconds',
    'How long a connection was waited for.',
  )
  readonly #use = this.#histogram('db_client_connection_use_time_seconds', 'How long a connection was out.')
  readonly #create = this.#histogram(
    'db_client_connection_create_time_seconds',
    'How long it took to open a connection.',
  )
  readonly #timeouts = this.#counter(
    'db_client_connection_timeouts_total',
    'Those who waited for a connection in vain.',
  )
  readonly #leaks = this.#counter(
    'millpond_connection_leaks_total',
    'Connections that were out for longer than leakThresholdMillis, and what became of them.',
    ['state'],
  )
  readonly #cleanups = this.#counter(
    'millpond_connection_cleanups_total',
    'Connections that came back with something left open.',
  )
  readonly #retired = this.#counter(
    'millpond_connections_retired_total',
    'Connections that were closed for good, and why.',
    ['reason'],
  )

  /** @param databases by their name in the metrics */
  constructor(databases: ReadonlyMap<string, Database>) {
    this.#databases = databases
    this.#addGauges()
    for (const [name, database] of databases) this.#listen(name, database)
  }

  get contentType(): string {
    return this.#registry.contentType
  }

  text(): Promise<string> {
    return this.#registry.metrics()
  }

  /** Stops listening to events. */
  close(): void {
    for (const close of this.#unsubscribes) close()
    this.#unsubscribes.length = 0
  }

  #histogram(name: string, help: string, labels: readonly string[] = []): FastHistogram {
    return new FastHistogram({ ...this.#common(name, help, labels), buckets: SECONDS })
  }

  #counter(name: string, help: string, labels: readonly string[] = []): Counter {
    return new Counter(this.#common(name, help, labels))
  }

  #common(name: string, help: string, labels: readonly string[]) {
    return { name, help, labelNames: [POOL, ...labels], registers: [this.#registry] }
  }

  /** Adds the gauges, which are read only when the metrics are requested. */
  #addGauges(): void {
    const addGauge = (
      name: string,
      help: string,
      read: (stats: ReturnType<Database['stats']>) => readonly (readonly [number, Record<string, string>?])[],
      labels: readonly string[] = [],
    ): Metric => {
      const databases = this.#databases
      return new Gauge({
        ...this.#common(name, help, labels),
        collect() {
          for (const [pool, database] of databases) {
            for (const [value, more] of read(database.stats())) this.set({ [POOL]: pool, ...more }, value)
          }
        },
      })
    }
    addGauge(
      'db_client_connection_count',
      'Connections, by what they do.',
      ({ used, idle }) => [
        [used, { [STATE]: 'used' }],
        [idle, { [STATE]: 'idle' }],
      ],
      [STATE],
    )
    addGauge('db_client_connection_pending_requests', 'Those who wait for a connection.', ({ waiting }) => [
      [waiting],
    ])
    addGauge('db_client_connection_max', 'As many connections as there may be.', ({ size, maxOverflow }) => [
      [size + maxOverflow],
    ])
    addGauge('db_client_connection_idle_max', 'As many as are kept when nobody needs them.', ({ size }) => [
      [size],
    ])
  }

  #listen(name: string, database: Database): void {
    const pool = { [POOL]: name }
    const system = {
      ...pool,
      db_system_name: database.url.dialect,
      db_namespace: database.url.database,
    }
    // Starts counters at 0, because an alert on an increase needs a counter that exists before it counts.
    this.#timeouts.inc(pool, 0)
    this.#cleanups.inc(pool, 0)
    for (const state of ['held', 'returned', 'reclaimed']) this.#leaks.inc({ ...pool, state }, 0)
    const create = this.#create.series(pool)
    const use = this.#use.series(pool)
    const wait = this.#wait.series(pool)
    const operations = new Map<string, Series>()
    const listeners: Listeners = {
      query: ({ durationMillis, error, sql }) => {
        const operation = operationOf(sql)
        const kind = error === undefined ? operation : `${operation} ${error.code}`
        let series = operations.get(kind)
        if (series === undefined) {
          const labels = { ...system, db_operation_name: operation, ...(error && { error_type: error.code }) }
          series = this.#operation.series(labels)
          operations.set(kind, series)
        }
        series.observe(durationMillis / 1000)
      },
      create: ({ durationMillis }) => create.observe(durationMillis / 1000),
      acquire: ({ waitMillis }) => wait.observe(waitMillis / 1000),
      release: ({ heldMillis }) => use.observe(heldMillis / 1000),
      timeout: () => this.#timeouts.inc(pool),
      leak: ({ state }) => this.#leaks.inc({ ...pool, state }),
      cleanup: () => this.#cleanups.inc(pool),
      retire: ({ reason }) => this.#retired.inc({ ...pool, reason }),
    }
    for (const [event, listener] of Object.entries(listeners)) {
      database.on(event as 'query', listener as Listeners['query'])
      this.#unsubscribes.push(() => database.off(event as 'query', listener as Listeners['query']))
    }
  }
}
