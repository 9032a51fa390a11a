/** Health under faults: /livez answers at once, and /readyz within a second, whatever the database does. */
import express from 'express'
import { rounds } from '../support/rounds'
import { type Connection, Database } from '../../src/database'
import { health, type Serving } from '../../src/express'
import { serveQuietly } from '../express/support'
import { within } from '../support/exact'
import { report } from '../support/report'
import { waitFor } from '../support/wait-for'
import { describeFault } from './support'

const ALIVE_MILLIS = 50
/** A margin for a busy machine. */
const MARGIN_MILLIS = within(0, 250)
/** The timeout of a health check. */
const READY_MILLIS = 1000
const ROUNDS = rounds(5, 12)
/** Checks at the same time, as of two load balancers and a person. */
const AT_ONCE = 3

interface Asked {
  readonly tookMillis: number
  readonly status: number
  readonly body: unknown
}

async function ask(url: string): Promise<Asked> {
  const began = performance.now()
  const answer = await fetch(url)
  const body: unknown = await answer.json()
  return { tookMillis: performance.now() - began, status: answer.status, body }
}

/** Polls both endpoints at the same time, repeatedly. */
async function poll(fault: string, { url }: Serving): Promise<{ live: Asked[]; ready: Asked[] }> {
  const live: Asked[] = []
  const ready: Asked[] = []
  for (let round = 0; round < ROUNDS; round += 1) {
    const asked = Promise.all(Array.from({ length: AT_ONCE }, () => ask(`${url}/readyz`)))
    for (let times = 0; times < AT_ONCE; times += 1) live.push(await ask(`${url}/livez`))
    ready.push(...(await asked))
  }
  const slowest = (all: readonly Asked[]): number => Math.max(...all.map(({ tookMillis }) => tookMillis))
  const statuses = (all: readonly Asked[]): string =>
    [...new Set(all.map(({ status }) => status))].join(' and ')
  report(`health, ${fault}`, {
    'asked each': live.length,
    'slowest /livez in ms': slowest(live),
    'slowest /readyz in ms': slowest(ready),
    '/readyz': statuses(ready),
  })
  expect(statuses(live)).toBe('200')
  const sorted = live.map(({ tookMillis }) => tookMillis).toSorted((a, b) => a - b)
  expect(sorted[Math.floor(sorted.length * 0.9)]).toBeLessThan(within(ALIVE_MILLIS, 150))
  expect(slowest(live)).toBeLessThan(ALIVE_MILLIS + MARGIN_MILLIS)
  expect(slowest(ready)).toBeLessThan(READY_MILLIS + MARGIN_MILLIS)
  return { live, ready }
}

describeFault('the health endpoints', (server) => {
  let database: Database
  let serving: Serving

  beforeEach(async () => {
    database = new Database(server().url, { name: 'main', pool: { size: 3, maxOverflow: 1 } })
    await database.connect()
    serving = await serveQuietly(express().use(health(database)))
    // After some polls, lazily loaded modules are loaded, and the connection for pings is open.
    for (let times = 0; times < 5; times += 1) {
      await ask(`${serving.url}/readyz`)
      await ask(`${serving.url}/livez`)
    }
  })
  afterEach(async () => {
    await serving.close()
    await database.disconnect({ graceMillis: 0 })
  })

  it('are ready while the pool is full and callers wait, and take no connection from them', async () => {
    const held: Connection[] = []
    for (let taken = 0; taken < 4; taken += 1) held.push(await database.acquire())
    const waiting = [database.fetchVal('select 1'), database.fetchVal('select 2')]
    const before = database.stats()
    const { ready } = await poll('pool full', serving)
    expect(new Set(ready.map(({ status }) => status))).toEqual(new Set([200]))
    expect(database.stats()).toMatchObject({ used: 4, waiting: 2, acquired: before.acquired })
    for (const connection of held) await connection.release()
    expect(await Promise.all(waiting)).toEqual([1, 2])
  })

  it('report within a second that a server is frozen, and that it answers again', async () => {
    await server().freeze()
    try {
      const { ready } = await poll('PostgreSQL frozen', serving)
      for (const { status, body } of ready) {
        expect(status).toBe(503)
        expect(body).toEqual({ status: 'not ready', databases: { main: 'QUERY_TIMEOUT' } })
      }
    } finally {
      await server().thaw()
    }
    await waitFor(async () => (await ask(`${serving.url}/readyz`)).status === 200)
  })

  it('report within a second that a server is dead, and that it is back', async () => {
    await server().kill()
    try {
      const { ready } = await poll('PostgreSQL dead', serving)
      for (const { status, body } of ready) {
        expect(status).toBe(503)
        expect(body).toEqual({ status: 'not ready', databases: { main: 'CONNECTION_FAILED' } })
      }
    } finally {
      await server().start()
    }
    await waitFor(async () => (await ask(`${serving.url}/readyz`)).status === 200)
  })
})
