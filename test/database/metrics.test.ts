/** The metrics of a Database, as an OpenTelemetry SDK receives them. */
import {
  AggregationTemporality,
  DataPointType,
  InMemoryMetricExporter,
  MeterProvider,
  type MetricData,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics'
import { recordMetrics } from '../../src/database'
import { eachDatabase } from '../support/each-database'
import { failure } from './support'

eachDatabase('the metrics of a Database', (context) => {
  const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE)
  const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 2 ** 30 })
  const provider = new MeterProvider({ readers: [reader] })
  afterAll(() => provider.shutdown())

  const collect = async (): Promise<Map<string, MetricData>> => {
    exporter.reset()
    await reader.forceFlush()
    const scopes = exporter.getMetrics().flatMap(({ scopeMetrics }) => scopeMetrics)
    const metrics = scopes.flatMap((scope) => scope.metrics)
    return new Map(metrics.map((metric) => [metric.descriptor.name, metric]))
  }

  it("have the names, units and attributes of OpenTelemetry's semantic conventions", async () => {
    const database = await context.open({
      name: 'shop',
      pool: { size: 1, maxOverflow: 0, acquireTimeoutMillis: 50 },
    })
    const stop = recordMetrics(database, provider.getMeter('test'))
    const held = await database.acquire()
    await failure(database.fetchVal('select 1'))
    const full = await collect()
    expect(levels(full.get('db.client.connection.count'))).toEqual({ used: 1, idle: 0 })
    await held.release()
    await database.fetchVal('select 1')
    await failure(database.fetchVal('select nonsense'))
    const metrics = await collect()
    stop()

    expect(levels(metrics.get('db.client.connection.count'))).toEqual({ used: 0, idle: 1 })
    expect(valueOf(metrics.get('db.client.connection.timeouts'))).toBe(1)
    expect(valueOf(metrics.get('db.client.connection.max'))).toBe(1)
    expect(valueOf(metrics.get('db.client.connection.idle.max'))).toBe(1)
    expect(valueOf(metrics.get('db.client.connection.pending_requests'))).toBe(0)
    for (const name of ['wait_time', 'use_time']) {
      const metric = metrics.get(`db.client.connection.${name}`)
      expect(metric?.descriptor).toMatchObject({
        unit: 's',
        advice: { explicitBucketBoundaries: expect.any(Array) },
      })
      expect(metric).toMatchObject({
        dataPointType: DataPointType.HISTOGRAM,
        dataPoints: [{ attributes: { 'db.client.connection.pool.name': 'shop' }, value: { count: 3 } }],
      })
    }
    const operations = metrics.get('db.client.operation.duration')?.dataPoints ?? []
    expect(operations.map(({ attributes }) => attributes)).toEqual([
      expect.objectContaining({ 'db.system.name': context.dialect, 'db.operation.name': 'SELECT' }),
      expect.objectContaining({ 'error.type': 'UNDEFINED_NAME' }),
    ])
    expect(JSON.stringify(operations)).not.toMatch(/nonsense/)
  })

  it('count opened connections, and nothing after they were stopped', async () => {
    const database = await context.open({ name: 'counted', pool: { size: 3, maxOverflow: 0 } })
    const stop = recordMetrics(database, provider.getMeter('test'))
    const opened = [await database.acquire(), await database.acquire()]
    for (const connection of opened) await connection.release()
    const count = (metrics: Map<string, MetricData>): unknown =>
      metrics
        .get('db.client.connection.create_time')
        ?.dataPoints.filter(({ attributes }) => attributes['db.client.connection.pool.name'] === 'counted')
        .map(({ value }) => (value as { count: number }).count)
    expect(count(await collect())).toEqual([1])
    stop()
    const three = [await database.acquire(), await database.acquire(), await database.acquire()]
    for (const connection of three) await connection.release()
    expect(count(await collect())).toEqual([1])
  })
})

function valueOf(metric: MetricData | undefined): unknown {
  return metric?.dataPoints[0]?.value
}

function levels(metric: MetricData | undefined): Record<string, unknown> {
  return Object.fromEntries(
    (metric?.dataPoints ?? []).map(({ attributes, value }) => [
      attributes['db.client.connection.state'],
      value,
    ]),
  )
}
