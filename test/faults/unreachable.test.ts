/** The errors for a database that cannot be reached. */
import express from 'express'
import request from 'supertest'
import { ConnectionError, Database } from '../../src/database'
import { monitor, type MonitorReport } from '../../src/express'
import { failure } from '../database/support'
import { within } from '../support/exact'
import { millpond } from '../support/faults/millpond-subject'
import { DEADLINE_MILLIS, type Reason, unreachable } from '../support/faults/unreachable'
import { startProxy } from '../support/tcp-proxy'
import { waitFor } from '../support/wait-for'
import { describeFault, report } from './support'

type Verdict = MonitorReport['databases'][number]['verdict']

/** Temporary failures, which are retried until the deadline. */
const PASSING: readonly Reason[] = ['swallows packets', 'refuses', 'starting up']
const PERMANENT: readonly Reason[] = ['wrong password', 'missing database']

describeFault('an unreachable database', (server) => {
  it.each(PASSING)('that %s is retried until the deadline, and the error says why', async (reason) => {
    const figures = await unreachable(millpond, server().url, reason)
    report(reason, { ...figures })
    expect(figures).toMatchObject({ error: 'ConnectionError', code: 'CONNECTION_FAILED', namesCause: 1 })
    expect(figures.millis).toBeGreaterThan(DEADLINE_MILLIS - 20)
    expect(figures.millis).toBeLessThanOrEqual(DEADLINE_MILLIS + within(250, 3000))
  })

  it.each(PERMANENT)('for a permanent reason (%s) fails at once, and the error says why', async (reason) => {
    const figures = await unreachable(millpond, server().url, reason)
    report(reason, { ...figures })
    expect(figures).toMatchObject({ error: 'ConnectionError', code: 'CONNECTION_FAILED', namesCause: 1 })
    expect(figures.millis).toBeLessThanOrEqual(DEADLINE_MILLIS / 2)
  })

  it.each(['swallows packets', 'refuses'] as const)(
    'that %s after it was connected to is never reported as a full pool, and works again by itself',
    async (reason) => {
      const proxy = await startProxy(server().url)
      const pool = { min: 2, size: 2, acquireTimeoutMillis: DEADLINE_MILLIS, validateAfterIdleMillis: 0 }
      const database = new Database(proxy.url, { pool })
      try {
        await database.connect()
        await waitFor(() => database.stats().idle === 2, { what: 'two idle connections' })
        if (reason === 'refuses') {
          proxy.refuse()
          proxy.cut()
        } else {
          proxy.blackhole()
        }
        const began = performance.now()
        const calls = Array.from({ length: 30 }, () => failure(database.fetchVal('select 1')))
        const errors = await Promise.all(calls)
        const millis = performance.now() - began
        report(`${reason} later`, { calls: errors.length, millis })
        expect(errors.filter((error) => !(error instanceof ConnectionError))).toEqual([])
        expect(millis).toBeLessThanOrEqual(DEADLINE_MILLIS + within(250, 3000))

        await proxy.accept()
        proxy.restore()
        const back = performance.now()
        expect(await database.fetchVal('select 1')).toBe(1)
        report(`${reason} later`, { 'back after ms': performance.now() - back })
        expect(database.stats()).toMatchObject({ used: 0, waiting: 0 })
      } finally {
        await database.disconnect({ graceMillis: 0 })
        await proxy.close()
      }
    },
  )

  it('is told by the monitor: why, since when, and that the pool is not to blame', async () => {
    const proxy = await startProxy(server().url)
    const database = new Database(proxy.url, { pool: { acquireTimeoutMillis: 500 } })
    const pool = monitor(database)
    const app = express().use(pool)
    const verdict = async (): Promise<Verdict> =>
      ((await request(app).get('/pool.json')).body as MonitorReport).databases[0]?.verdict as Verdict
    try {
      await database.connect()
      proxy.refuse()
      proxy.cut()
      const before = new Date().toISOString()
      await failure(database.fetchVal('select 1'))
      const first = await verdict()
      expect(first).toMatchObject({ level: 'critical', suspects: [] })
      expect(first.summary).toMatch(
        /^The database cannot be reached\. Could not connect to postgresql:.*ECONNREFUSED/,
      )
      expect(first.advice).toContain('tries again by itself')
      expect(before <= (first.since ?? '')).toBe(true)
      await failure(database.fetchVal('select 1'))
      expect((await verdict()).since).toBe(first.since)
      await proxy.accept()
      await waitFor(async () => (await failureOf(database)) === null)
      expect((await verdict()).summary).not.toContain('cannot be reached')
    } finally {
      pool.close()
      await database.disconnect()
      await proxy.close()
    }
  })

  it('is told by the monitor for a reason that lasts, too', async () => {
    const admin = new Database(server().url)
    const gone = new URL(server().url)
    gone.pathname = '/soon_gone'
    const database = new Database(gone.href)
    const pool = monitor(database)
    try {
      await admin.connect()
      await admin.execute('create database soon_gone')
      await database.connect()
      await admin.execute('drop database soon_gone with (force)')
      await waitFor(() =>
        database.fetchVal('select 1').then(
          () => false,
          (error: unknown) => /does not exist/.test(String(error)),
        ),
      )
      const { body } = await request(express().use(pool)).get('/pool.json')
      const [report] = (body as MonitorReport).databases
      expect(report?.verdict).toMatchObject({
        level: 'critical',
        summary: expect.stringMatching(/cannot be reached.*"soon_gone" does not exist/),
      })
      expect(report?.errors).toEqual([
        expect.objectContaining({ code: 'CONNECTION_FAILED', count: report?.stats.timedOut }),
      ])
    } finally {
      pool.close()
      await database.disconnect()
      await admin.disconnect()
    }
  })
})

/** Null once a query succeeds. */
function failureOf(database: Database): Promise<unknown> {
  return database.fetchVal('select 1').then(
    () => null,
    (error: unknown) => error,
  )
}
