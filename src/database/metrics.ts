/** Reports a Database's metrics to OpenTelemetry, under its names for database clients. */
import type { DatabaseEvents } from './events'
import type { PoolStats } from './pool/pool-context'
import { operationOf } from './sql/fingerprint'
import type { DatabaseURL } from './url'

/** The part of a Database that is measured. */
interface MeasuredDatabase {
  readonly name: string
  readonly url: DatabaseURL
  stats(): PoolStats
  on: SetListener
  off: SetListener
}

type SetListener = <E extends keyof DatabaseEvents>(
  event: E,
  listener: (...args: DatabaseEvents[E]) => void,
) => unknown

type Attributes = Record<string, string | number>

interface Histogram {
  record(value: number, attributes?: Attributes): void
}

interface BatchResult {
  observe(instrument: object, value: number, attributes?: Attributes): void
}

/** The part of OpenTelemetry's Meter that is used here: a program without OpenTelemetry does not have its types. */
export interface Meter {
  createHistogram(name: string, options: object): Histogram
  createCounter(name: string, options: object): { add(value: number, attributes?: Attributes): void }
  createObservableUpDownCounter(name: string, options: object): object
  addBatchObservableCallback(callback: (result: BatchResult) => void, instruments: object[]): void
  removeBatchObservableCallback(callback: (result: BatchResult) => void, instruments: object[]): void
}

/** The buckets that the semantic conventions advise, in seconds. */
const SECONDS = {
  unit: 's',
  advice: { explicitBucketBoundaries: [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10] },
}

/**
 * Reports the pool's figures and times, and the duration of every statement, to a meter. Times are in seconds, as the
 * conventions demand: https://opentelemetry.io/docs/specs/semconv/database/database-metrics/
 *
 * It listens to the Database's events, which costs each statement some microseconds; a Database without listeners
 * measures nothing.
 *
 * @returns a function that stops it
 * @example
 * import { metrics } from '@opentelemetry/api'
 * const stop = recordMetrics(database, metrics.getMeter('millpond'))
 */
export function recordMetrics(database: MeasuredDatabase, meter: Meter): () => void {
  const pool: Attributes = { 'db.client.connection.pool.name': database.name }
  const system = systemAttributes(database.url)
  const histogram = (name: string, description: string): Histogram =>
    meter.createHistogram(name, { ...SECONDS, description })
  const upDownCounter = (name: string, unit: string, description: string): object =>
    meter.createObservableUpDownCounter(name, { unit, description })
  const operation = histogram(
    'db.client.operation.duration',
    'How long a statement took, from being sent to its answer.',
  )
  const create = histogram('db.client.connection.create_time', 'How long it took to open a connection.')
  const wait = histogram('db.client.connection.wait_time', 'How long a connection was waited for.')
  const use = histogram('db.client.connection.use_time', 'How long a connection was out.')
  const timeouts = meter.createCounter('db.client.connection.timeouts', {
    unit: '{timeout}',
    description: 'Those who waited for a connection in vain.',
  })
  const count = upDownCounter('db.client.connection.count', '{connection}', 'Connections, by what they do.')
  const pending = upDownCounter(
    'db.client.connection.pending_requests',
    '{request}',
    'Those who wait for a connection.',
  )
  const max = upDownCounter(
    'db.client.connection.max',
    '{connection}',
    'As many connections as there may be.',
  )
  const maxIdle = upDownCounter(
    'db.client.connection.idle.max',
    '{connection}',
    'As many as are kept when nobody needs them.',
  )
  const gauges = [count, pending, max, maxIdle]
  const observe = (result: BatchResult): void => {
    const { used, idle, waiting, size, maxOverflow } = database.stats()
    result.observe(count, used, { ...pool, 'db.client.connection.state': 'used' })
    result.observe(count, idle, { ...pool, 'db.client.connection.state': 'idle' })
    result.observe(pending, waiting, pool)
    result.observe(max, size + maxOverflow, pool)
    result.observe(maxIdle, size, pool)
  }
  meter.addBatchObservableCallback(observe, gauges)
  const listeners: Listeners = {
    query: ({ sql, durationMillis, error }) => {
      operation.record(durationMillis / 1000, {
        ...system,
        'db.operation.name': operationOf(sql),
        ...(error && { 'error.type': error.code }),
      })
    },
    create: ({ durationMillis }) => {
      create.record(durationMillis / 1000, pool)
    },
    acquire: ({ waitMillis }) => {
      wait.record(waitMillis / 1000, pool)
    },
    release: ({ heldMillis }) => {
      use.record(heldMillis / 1000, pool)
    },
    timeout: () => {
      timeouts.add(1, pool)
    },
  }
  listen(database, 'on', listeners)
  return () => {
    listen(database, 'off', listeners)
    meter.removeBatchObservableCallback(observe, gauges)
  }
}

/** Returns the attributes that tell which database it is. */
export function systemAttributes({ dialect, database, hostname, port }: DatabaseURL): Attributes {
  return {
    'db.system.name': dialect,
    'db.namespace': database,
    ...(hostname !== null && { 'server.address': hostname }),
    ...(port !== null && { 'server.port': port }),
  }
}

type Listeners = {
  readonly [E in 'query' | 'create' | 'acquire' | 'release' | 'timeout']: (...args: DatabaseEvents[E]) => void
}

function listen(database: MeasuredDatabase, method: 'on' | 'off', listeners: Listeners): void {
  for (const [event, listener] of Object.entries(listeners)) {
    database[method](event as 'query', listener as Listeners['query'])
  }
}
