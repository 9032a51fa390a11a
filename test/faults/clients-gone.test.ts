/** A thousand HTTP clients go away at random moments: nothing of theirs stays, and a reader beside them feels little. */
import { once } from 'node:events'
import { Agent, get } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import express, { type Express } from 'express'
import { Database } from '../../src/database'
import { problems, type Serving, transactionPerRequest } from '../../src/express'
import { serveQuietly } from '../express/support'
import { countBackends } from '../support/faults/ledger'
import { report } from '../support/report'
import { within } from '../support/exact'
import { waitFor } from '../support/wait-for'
import { describeFault } from './support'

const CLIENTS = 1000
/** They come over this time, and each leaves at most so much later. */
const COME_WITHIN_MILLIS = 6000
const LEAVE_WITHIN_MILLIS = 250
const BUSY = ['active', 'idle in transaction', 'idle in transaction (aborted)']
const READER_PAUSE_MILLIS = 5

/** Rows that the server makes one by one, as they are read. */
const ENDLESS = 'select generate_series(1, 100000000) as n, repeat(chr(120), 100) as x'

/** Not one of its handlers knows that clients can leave. */
function appOf(database: Database): Express {
  const app = express()
  app.get('/quick', async (_request, response) => {
    response.json(await database.fetchVal('select pg_sleep(0.02)'))
  })
  app.get('/stuck', async (_request, response) => {
    response.json(await database.fetchVal('select pg_sleep(600)'))
  })
  app.get('/stream', async (_request, response) => {
    for await (const row of database.iterate(ENDLESS)) {
      if (!response.write(`${JSON.stringify(row)}\n`)) await once(response, 'drain')
    }
    response.end()
  })
  app.get('/transaction', async (_request, response) => {
    await database.transaction(async () => {
      await database.execute('insert into gone (kind) values (:kind)', { kind: 'scope' })
      await database.fetchVal('select pg_sleep(0.05)')
      // Between two statements, too.
      await delay(20)
      await database.fetchVal('select pg_sleep(600)')
    })
    response.end()
  })
  app.get('/stream-in-transaction', async (_request, response) => {
    await database.transaction(async () => {
      await database.execute('insert into gone (kind) values (:kind)', { kind: 'stream' })
      for await (const row of database.iterate(ENDLESS)) {
        if (!response.write(`${JSON.stringify(row)}\n`)) await once(response, 'drain')
      }
    })
    response.end()
  })
  app.get('/per-request', transactionPerRequest(database), async (_request, response) => {
    await database.execute('insert into gone (kind) values (:kind)', { kind: 'request' })
    await database.fetchVal('select pg_sleep(600)')
    response.end()
  })
  app.use(problems({ onError: (error) => unexpected.push(error) }))
  return app
}

const unexpected: unknown[] = []
const PATHS = ['/quick', '/stuck', '/stream', '/transaction', '/stream-in-transaction', '/per-request']

/** Comes, and goes at a random moment: its request queued, running, answered in part or not even sent. */
async function comeAndGo(url: string, agent: Agent): Promise<void> {
  await delay(Math.random() * COME_WITHIN_MILLIS)
  await new Promise<void>((resolve) => {
    const sent = get(url, { agent }, (answer) => {
      answer.on('error', () => {})
      // Every other one of them does not read, so that a stream waits for it.
      if (Math.random() < 0.5) answer.resume()
    })
    sent.on('error', () => {})
    sent.on('close', resolve)
    setTimeout(() => sent.destroy(), Math.random() * LEAVE_WITHIN_MILLIS)
  })
}

/** Reads one row by HTTP again and again; returns how long each took. */
async function readUntil(isOver: () => boolean, url: string): Promise<number[]> {
  const agent = new Agent({ keepAlive: true })
  const times: number[] = []
  while (!isOver()) {
    const began = performance.now()
    await new Promise((resolve, reject) => {
      get(url, { agent }, (answer) => answer.resume().on('end', resolve)).on('error', reject)
    })
    times.push(performance.now() - began)
    await delay(READER_PAUSE_MILLIS)
  }
  agent.destroy()
  return times.toSorted((a, b) => a - b)
}

const quantile = (sorted: readonly number[], q: number): number =>
  sorted[Math.floor(sorted.length * q)] ?? NaN

describeFault('a thousand clients that go away', (server) => {
  let database: Database
  let serving: Serving
  /** The reader has a pool of its own: it shares the server and this process with those who leave, not their queue. */
  let reading: Database

  beforeEach(async () => {
    database = new Database(server().url, { pool: { size: 8, maxOverflow: 4 } })
    reading = new Database(server().url, { pool: { size: 1, maxOverflow: 0 } })
    await database.connect()
    await reading.connect()
    await database.execute('create table gone (kind text not null)')
    const app = express()
    app.get('/live', async (_request, response) => {
      response.json(await reading.fetchVal('select 1'))
    })
    serving = await serveQuietly(app.use(appOf(database)))
  })
  afterEach(async () => {
    await serving.close()
    await database.disconnect({ graceMillis: 0 })
    await reading.disconnect({ graceMillis: 0 })
  })

  it('leave nothing behind, and the pool is whole', async () => {
    const live = `${serving.url}/live`
    // The first requests of a process are slow for reasons of their own.
    let isOver = false
    const warm = readUntil(() => isOver, live)
    await delay(1000)
    isOver = true
    await warm
    isOver = false
    const calm = readUntil(() => isOver, live)
    await delay(2000)
    isOver = true
    const quiet = await calm

    isOver = false
    const beside = readUntil(() => isOver, live)
    const agent = new Agent({ keepAlive: true })
    const clients = Array.from({ length: CLIENTS }, (_, n) =>
      comeAndGo(`${serving.url}${PATHS[n % PATHS.length]}`, agent),
    )
    await Promise.all(clients)
    isOver = true
    const stormy = await beside
    const gone = performance.now()
    // A second is what it takes on a machine that has nothing else to do.
    await waitFor(
      async () => {
        const { used, waiting } = database.stats()
        return used + waiting + (await countBackends(server().url, BUSY)) === 0
      },
      { what: 'everything to come back', timeoutMillis: within(1000, 40_000) },
    )
    const tookMillis = performance.now() - gone
    const { used, waiting, size } = database.stats()
    const busy = await countBackends(server().url, BUSY)
    agent.destroy()

    report('clients gone', {
      clients: CLIENTS,
      'all back after ms': tookMillis,
      used,
      waiting,
      'busy backends': busy,
      'quiet reads': quiet.length,
      'quiet p50 in ms': quantile(quiet, 0.5),
      'quiet p99 in ms': quantile(quiet, 0.99),
      'reads beside': stormy.length,
      'p50 beside in ms': quantile(stormy, 0.5),
      'p99 beside in ms': quantile(stormy, 0.99),
    })
    expect({ used, waiting, busy }).toEqual({ used: 0, waiting: 0, busy: 0 })
    expect(await database.fetchVal('select count(*) from gone')).toBe('0')
    expect(unexpected).toEqual([])
    // Clients, server and reader share one event loop here, so this only tells a crowd from a standstill.
    expect(quantile(stormy, 0.99)).toBeLessThan(1000)
    // All of the pool can be had, at once.
    const all = await Promise.all(Array.from({ length: size }, () => database.acquire()))
    await Promise.all(all.map((connection) => connection.fetchVal('select pg_sleep(0.05)')))
    for (const connection of all) await connection.release()
    await waitFor(() => database.stats().used === 0)
  })
})
