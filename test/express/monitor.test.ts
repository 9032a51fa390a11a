/** The pool monitor by HTTP: its JSON, its stream, its metrics, and what must be seen in none of them. */
import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import express from 'express'
import request from 'supertest'
import { Database, runInScope } from '../../src/database'
import { type Monitor, monitor, type MonitorReport, type Serving } from '../../src/express'
import { EventStream } from '../../src/express/monitor/event-stream'
import type { DatabaseStats } from '../../src/express/monitor/database-stats'
import { failure } from '../database/support'
import { eachDatabase } from '../support/each-database'
import { standingCheck } from '../support/standing-check'
import { waitFor } from '../support/wait-for'
import { serveQuietly } from './support'

type Report = MonitorReport['databases'][number]

const PATHS = ['/', '/pool.json', '/metrics']

eachDatabase('the monitor', (context) => {
  const pools: Monitor[] = []
  const watch = (...databases: Database[]): Monitor => {
    const pool = monitor(...databases)
    pools.push(pool)
    return pool
  }
  const reportOf = async (pool: Monitor, index = 0): Promise<Report> => {
    const { body } = await request(express().use(pool)).get('/pool.json').expect(200)
    const report = (body as MonitorReport).databases[index]
    if (report === undefined) throw new Error('There is no such database in the report')
    return report
  }
  afterEach(() => {
    for (const pool of pools.splice(0)) pool.close()
  })

  const small = { size: 1, maxOverflow: 0, acquireTimeoutMillis: 50 }

  it('tells who holds a connection, and blames whoever does nothing with it while others wait', async () => {
    const database = await context.open({ name: 'shop', pool: { ...small, acquireTimeoutMillis: 20_000 } })
    const pool = watch(database)
    const held = await runInScope({ label: 'POST /checkout' }, () => database.begin())
    await held.fetchVal('select 1')
    const waiting = database.fetchVal('select 2')
    await waitFor(async () => (await reportOf(pool)).verdict.level === 'critical')
    const report = await reportOf(pool)
    expect(report).toMatchObject({ name: 'shop', dialect: context.dialect, stats: { used: 1, waiting: 1 } })
    expect(report.holders).toEqual([
      expect.objectContaining({
        label: 'POST /checkout',
        statement: null,
        inTransaction: true,
        suspicion: 'idle',
      }),
    ])
    expect(report.verdict.summary).toBe('The pool is full: its only connection is in use and 1 waits.')
    expect(report.verdict.suspects).toEqual([
      {
        summary: expect.stringMatching(
          /^POST \/checkout holds 1 of the 1 in use, for .* s, and runs nothing in an open transaction.$/,
        ),
        holder: expect.objectContaining({ label: 'POST /checkout', statement: null }),
      },
    ])
    expect(report.verdict.advice).toBe('Move what POST /checkout does meanwhile out of the transaction.')
    await waitFor(async () => (await reportOf(pool)).verdict.since !== null)
    await held.rollback()
    await waiting
    await waitFor(async () => (await reportOf(pool)).verdict.level !== 'critical')
    expect((await reportOf(pool)).holders).toEqual([])
  })

  it('counts those who waited in vain by their label, however many others waited, with the whole message', async () => {
    const database = await context.open({ name: 'shop', pool: small })
    const pool = watch(database)
    const late = (label: string): Promise<unknown> =>
      failure(runInScope({ label }, () => database.detached(() => database.fetchVal('select 1'))))
    const before = new Date().toISOString()
    await runInScope({ label: 'GET /report' }, () =>
      database.connection(async (connection) => {
        await connection.fetchVal("select 'hunter2'")
        await late('GET /late')
        await Promise.all(Array.from({ length: 12 }, () => late('GET /late')))
        await late('GET /other')
      }),
    )
    const report = await reportOf(pool)
    expect(report.verdict).toMatchObject({
      level: 'critical',
      summary: '14 waited in vain in the last minute.',
      since: expect.any(String),
    })
    expect(report.errors).toEqual([
      expect.objectContaining({ code: 'POOL_TIMEOUT', label: 'GET /other', statement: null, count: 1 }),
      expect.objectContaining({ code: 'POOL_TIMEOUT', label: 'GET /late', statement: null, count: 13 }),
    ])
    const [, { firstAt, lastAt, message }] = report.errors as [unknown, Report['errors'][number]]
    expect([before, firstAt, lastAt]).toEqual([before, firstAt, lastAt].toSorted())
    expect(firstAt).not.toBe(lastAt)
    expect(message).toContain("No connection to database 'shop' became free within 50 ms")
    expect(message).toMatch(
      /held by:\n {2}1\. GET \/report, for \d+ ms, running nothing, taken at .+\nLook for slow queries/,
    )
  })

  it('tells what holders ran while others waited in vain, without its values', async () => {
    const database = await context.open({ pool: small })
    const pool = watch(database)
    const slow = {
      postgresql: "select pg_sleep(30), 'hunter2', 'hunter2' as word",
      sqlite:
        "with recursive c (n) as (select 1 union all select n + 1 from c where n < 3e8) select count(*), 'hunter2' from c",
    }[context.dialect]
    const over = new AbortController()
    const running = failure(database.fetchVal(slow, {}, { signal: over.signal }))
    await waitFor(() => database.holders()[0]?.sql)
    await failure(database.fetchVal('select 1'))
    over.abort()
    await running
    const { errors } = await reportOf(pool)
    const message = errors.find(({ code }) => code === 'POOL_TIMEOUT')?.message ?? ''
    expect(message).toMatch(/running (select pg_sleep\(\?\), \?|with recursive c .*, \? from c)/)
    expect(message).toContain('Look for slow queries')
    expect(message).not.toContain('hunter2')
  })

  it('keeps why no connection could be opened, and not that the pool was closed afterwards', async () => {
    const database = context.track(
      new Database('postgresql://app:hunter2@127.0.0.1:1/shop', { pool: { acquireTimeoutMillis: 300 } }),
    )
    const pool = watch(database)
    await failure(database.connect())
    const { errors, verdict } = await reportOf(pool)
    expect(errors[0]?.message).toMatch(
      /^Could not connect to postgresql:\/\/app:\*\*\*@127.0.0.1:1\/shop: .*ECONNREFUSED/,
    )
    expect(JSON.stringify([errors, verdict])).not.toContain('hunter2')
  })

  it('lists the slowest statements by what they have in common, and how long all of them took', async () => {
    const database = await context.open()
    const pool = watch(database)
    for (const id of [1, 2, 3]) await database.fetchAll('select :id as n', { id })
    await failure(database.fetchAll('select wrong'))
    const { statements, times } = await reportOf(pool)
    expect(statements).toContainEqual(
      expect.objectContaining({
        fingerprint: 'select ? as n',
        calls: 3,
        errors: 0,
        meanMillis: expect.any(Number),
      }),
    )
    expect(statements).toContainEqual(expect.objectContaining({ fingerprint: 'select wrong', errors: 1 }))
    expect(times.statement.count).toBe(4)
    expect(times.statement.p50Millis).toBeLessThanOrEqual(times.statement.p99Millis)
    expect(times.wait.count).toBe(4)
    expect(times.use.count).toBe(4)
  })

  it('shows no value and no password anywhere', async () => {
    const database = await context.open({ name: 'secrets' })
    const pool = watch(database)
    const value = 'hunter2-7421'
    await database.execute('create table secrets (id integer primary key, word text)')
    await database.execute('insert into secrets (id, word) values (1, :value)', { value })
    await database.fetchAll(`select '${value}', 74215 from secrets`)
    await failure(database.fetchAll(`select cast('${value}' as integer) + wrong from secrets`))
    await failure(database.execute('insert into secrets (id, word) values (1, :value)', { value }))
    await failure(database.fetchVal(`select '${value}' from nowhere`))
    const app = express().use(pool)
    const held = await database.acquire()
    for (const path of PATHS) {
      const { text } = await request(app).get(path).expect(200)
      expect(text).not.toMatch(/hunter2|74215/)
    }
    await held.release()
    await database.execute('drop table secrets')
    const elsewhere = context.track(new Database('postgresql://app:hunter2@127.0.0.1:1/x'))
    const { text } = await request(express().use(watch(elsewhere)))
      .get('/pool.json')
      .expect(200)
    expect(text).toContain('postgresql://app:***@127.0.0.1:1/x')
    expect(text).not.toContain('hunter2')
  })

  it('reports a leak while it is out, and that it came back', async () => {
    const database = await context.open({ pool: { leakThresholdMillis: 40 } })
    context.mayHoldLong()
    const pool = watch(database)
    const held = await runInScope({ label: 'GET /forgetful' }, () => database.acquire())
    await waitFor(async () => (await reportOf(pool)).leaks.length > 0)
    const [leak] = (await reportOf(pool)).leaks
    expect(leak).toMatchObject({
      state: 'held',
      label: 'GET /forgetful',
      site: expect.stringContaining('monitor.test'),
    })
    await held.release()
    expect((await reportOf(pool)).leaks).toEqual([expect.objectContaining({ state: 'returned' })])
  })

  it('tells of several databases, of the same name too, each by itself', async () => {
    const one = await context.open({ name: 'same' })
    const two = await context.open({ name: 'same' })
    const pool = watch(one, two, one)
    await two.fetchVal('select 1')
    const { body } = await request(express().use(pool)).get('/pool.json')
    const { databases } = body as MonitorReport
    expect(databases.map(({ name }) => name)).toEqual(['same', 'same (2)'])
    expect(databases.map(({ statements }) => statements.length)).toEqual([0, 1])
    const metrics = await samplesOf(pool)
    expect(
      metrics.get('db_client_connection_use_time_seconds_count{db_client_connection_pool_name="same"}'),
    ).toBe(0)
    expect(
      metrics.get('db_client_connection_use_time_seconds_count{db_client_connection_pool_name="same (2)"}'),
    ).toBe(1)
  })

  it('gives Prometheus its metrics, under the names that those of OpenTelemetry have there', async () => {
    const database = await context.open({ name: 'shop', pool: { ...small, leakThresholdMillis: 20 } })
    context.mayHoldLong()
    const pool = watch(database)
    const held = await database.acquire()
    await failure(database.fetchVal('select 1'))
    const label = 'db_client_connection_pool_name="shop"'
    const leaks = `millpond_connection_leaks_total{${label},state="held"}`
    await waitFor(async () => (await samplesOf(pool)).get(leaks) === 1)
    const full = await samplesOf(pool)
    expect(full.get(`db_client_connection_count{${label},db_client_connection_state="used"}`)).toBe(1)
    expect(full.get(`db_client_connection_count{${label},db_client_connection_state="idle"}`)).toBe(0)
    expect(full.get(`db_client_connection_timeouts_total{${label}}`)).toBe(1)
    expect(full.get(`db_client_connection_max{${label}}`)).toBe(1)
    expect(full.get(`db_client_connection_idle_max{${label}}`)).toBe(1)
    expect(full.get(`db_client_connection_pending_requests{${label}}`)).toBe(0)
    await held.release()
    await failure(database.fetchVal('selects nonsense'))
    const after = await samplesOf(pool)
    expect(after.get(`db_client_connection_use_time_seconds_count{${label}}`)).toBe(2)
    expect(after.get(`db_client_connection_wait_time_seconds_bucket{le="+Inf",${label}}`)).toBe(2)
    const operations = [...after.keys()].filter((name) =>
      name.startsWith('db_client_operation_duration_seconds_count'),
    )
    expect(operations).toEqual([
      expect.stringContaining('db_operation_name="OTHER",error_type="QUERY_FAILED"'),
    ])
    expect([...after.keys()].join('\n')).not.toContain('nonsense')
  })

  it('escapes what a label is made of in each form', async () => {
    const name = 'a"b\\c\n<script>alert(1)</script>'
    const database = await context.open({ name })
    const pool = watch(database)
    const held = await runInScope({ label: '<script>alert(2)</script>' }, () => database.acquire())
    const { text } = await request(express().use(pool)).get('/metrics').expect(200)
    expect(text).toContain(`db_client_connection_pool_name="a\\"b\\\\c\\n<script>`)
    const page = await request(express().use(pool)).get('/').expect(200)
    expect(page.text).not.toContain('alert')
    const json = await request(express().use(pool))
      .get('/pool.json')
      .expect('Content-Type', /^application\/json/)
    expect(json.headers['x-content-type-options']).toBe('nosniff')
    await held.release()
  })

  it('listens to nothing any more once it is closed, and does not keep a timer without a pool', async () => {
    const database = await context.open()
    const timers = (): number => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
    const before = timers()
    const pool = watch(database)
    await database.fetchVal('select 1')
    pool.close()
    await database.fetchVal('select 2')
    expect((await reportOf(pool)).times.statement.count).toBe(1)
    expect(timers()).toBeLessThanOrEqual(before)
  })

  describe('as a stream', () => {
    let serving: Serving
    const start = async (database: Database): Promise<void> => {
      serving = await serveQuietly(express(), { databases: [database], admin: { port: 0 } })
    }
    const listen = async (): Promise<IncomingMessage> => {
      const [response] = (await once(get(`${serving.adminUrl}/events`), 'response')) as [IncomingMessage]
      response.setEncoding('utf8')
      return response
    }
    afterEach(() => serving.close())

    it('begins with what was, goes on with what is new, and ends with the listener', async () => {
      const database = context.track(new Database(context.url, { name: 'shop' }))
      await start(database)
      const response = await listen()
      expect(response.headers['content-type']).toBe('text/event-stream; charset=utf-8')
      let text = ''
      response.on('data', (chunk: string) => (text += chunk))
      const events = (): { databases: Report[] }[] =>
        [...text.matchAll(/^data: (.*)\n\n/gm)].map(
          ([, json = '']) => JSON.parse(json) as { databases: Report[] },
        )
      await waitFor(() => events().length >= 3, { timeoutMillis: 8000 })
      const moments = events().flatMap(({ databases }) => databases[0]?.samples.map(({ at }) => at) ?? [])
      expect(moments.length).toBeGreaterThanOrEqual(3)
      expect(moments).toEqual([...new Set(moments)].toSorted((a, b) => a - b))
      const ended = once(response, 'end')
      await serving.close()
      await ended
    })

    it('is given to twenty at most, and again when one of them has left', async () => {
      await start(context.track(new Database(context.url)))
      const responses = await Promise.all(Array.from({ length: 20 }, listen))
      const [refused] = (await once(get(`${serving.adminUrl}/events`), 'response')) as [IncomingMessage]
      refused.resume()
      expect(refused.statusCode).toBe(503)
      expect(refused.headers['retry-after']).toBe('5')
      responses[0]?.destroy()
      await waitFor(async () => {
        const response = await listen()
        response.destroy()
        return response.statusCode === 200
      })
      for (const response of responses) response.destroy()
    })
  })
})

/** The lines of the text format, by name and labels. */
async function samplesOf(pool: Monitor): Promise<Map<string, number>> {
  const { text } = await request(express().use(pool))
    .get('/metrics')
    .expect(200)
    .expect('Content-Type', 'text/plain; version=0.0.4; charset=utf-8')
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  return new Map(
    lines.map((line) => {
      const [, name = '', value = ''] = /^([a-z_]+(?:\{.*\})?) (\S+)$/.exec(line) ?? []
      if (name === '' || Number.isNaN(Number(value.replace('+Inf', 'Infinity'))))
        throw new Error(`No sample: ${line}`)
      return [name, Number(value)]
    }),
  )
}

describe('the stream', () => {
  standingCheck()

  it('holds no shutdown up where the monitor is mounted in the application itself', async () => {
    const database = new Database('sqlite:///:memory:')
    const pool = monitor(database)
    const serving = await serveQuietly(express().use('/monitor', pool), { databases: [database] })
    const [reader] = (await once(get(`${serving.url}/monitor/events`), 'response')) as [IncomingMessage]
    reader.resume()
    const began = performance.now()
    await serving.close()
    expect(performance.now() - began).toBeLessThan(5000)
    pool.close()
  })

  it('holds no shutdown up for whoever does not read', async () => {
    const database = new Database('sqlite:///:memory:')
    const pool = monitor(database)
    const responses: express.Response[] = []
    const app = express().use((_request, response, next) => {
      responses.push(response)
      next()
    })
    const serving = await serveQuietly(app.use('/monitor', pool), { databases: [database] })
    const [reader] = (await once(get(`${serving.url}/monitor/events`), 'response')) as [IncomingMessage]
    reader.pause()
    // As much as is never sent, as after hours of events.
    await waitFor(
      () => responses[0]?.write(': '.padEnd(1_000_000)) === false && responses[0].writableLength > 5e6,
    )
    // The monitor finds out with its next event.
    await sleep(1100)
    const began = performance.now()
    await serving.close()
    expect(performance.now() - began).toBeLessThan(5000)
    reader.destroy()
    pool.close()
  })

  it('waits for whoever does not read, rather than piling up what he has missed', async () => {
    const size = 4_000_000
    let asked = 0
    const observation = {
      samples: [],
      report: () => {
        asked += 1
        return { name: 'x'.repeat(size) }
      },
    } as unknown as DatabaseStats
    const live = new EventStream([observation])
    const responses: express.Response[] = []
    const app = express().get('/', (incoming, response) => {
      responses.push(response)
      live.add(incoming, response)
    })
    const serving = await serveQuietly(app)
    const [reader] = (await once(get(serving.url), 'response')) as [IncomingMessage]
    reader.pause()
    await waitFor(() => asked >= 4, { timeoutMillis: 8000 })
    expect(responses[0]?.writableLength).toBeLessThan(size * 1.1)
    reader.resume()
    live.close()
    await serving.close()
  })
})

describe('the page of the monitor by HTTP', () => {
  standingCheck()
  const database = new Database('sqlite:///:memory:')
  const pool = monitor(database)
  const app = express().use('/monitor', pool)
  afterAll(() => pool.close())

  it('allows no script but its own, no frame around it, and nothing from elsewhere', async () => {
    const { headers, text } = await request(app)
      .get('/monitor/')
      .expect(200)
      .expect('Content-Type', /^text\/html/)
    expect(headers['content-security-policy']).toMatch(
      /^default-src 'none'; script-src 'self'; .*frame-ancestors 'none'$/,
    )
    expect(text).not.toMatch(/<script>|style=|\son\w+=|https?:\/\//)
    const files = [...text.matchAll(/(?:src|href)="(assets\/[^"]+)"/g)].map(([, file = '']) => file)
    expect(files.length).toBeGreaterThanOrEqual(3)
    for (const file of files) await request(app).get(`/monitor/${file}`).expect(200)
  })

  it('leads to its own address with a slash, below which its files are', async () => {
    await request(app).get('/monitor').expect(308).expect('Location', 'monitor/')
  })

  it('has no other files than its own', async () => {
    await request(app).get('/monitor/assets/..%2fmonitor.ts').expect(404)
    await request(app).get('/monitor/assets/%2e%2e/monitor.ts').expect(404)
  })

  it('weighs less than 60 kB', async () => {
    const files = [
      '',
      'assets/page.css',
      'assets/page.js',
      'assets/database.js',
      'assets/chart.js',
      'assets/table.js',
      'assets/errors.js',
      'assets/format.js',
      'assets/text.js',
      'assets/verdict.js',
    ]
    const sizes = await Promise.all(
      files.map(
        async (file) => (await request(app).get(`/monitor/${file}`).buffer(true)).headers['content-length'],
      ),
    )
    expect(sizes.reduce((sum, size) => sum + Number(size), 0)).toBeLessThan(60_000)
  })

  it('says that a database is not connected', async () => {
    const { body } = await request(app).get('/monitor/pool.json')
    expect((body as MonitorReport).databases[0]?.verdict.level).toBe('offline')
  })

  it('is refused without a database', () => {
    expect(() => monitor()).toThrow('takes the databases')
  })
})
