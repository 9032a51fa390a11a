/** Liveness touches no database; readiness asks each one, and says which is not there, or lacks what its check wants. */
import express from 'express'
import request from 'supertest'
import { health, type Readiness } from '../../src/express'
import { endless } from '../database/support'
import { eachDatabase } from '../support/each-database'
import { within } from '../support/exact'
import { waitFor } from '../support/wait-for'
import { serveQuietly } from './support'

eachDatabase('health', (context) => {
  it('is ready when every database answers', async () => {
    const one = await context.open({ name: 'one' })
    const two = await context.open({ name: 'two' })
    await using serving = await serveQuietly(express().use(health(one, two)))
    const { body, headers } = await request(serving.url).get('/readyz').expect(200)
    expect(body).toEqual({ status: 'ready', databases: { one: 'ready', two: 'ready' } })
    expect(headers).toHaveProperty('cache-control', 'no-store')
  })

  it('is not ready when one of them is gone, and names it; it is alive all the same', async () => {
    const one = await context.open({ name: 'one' })
    const two = await context.open({ name: 'two' })
    await using serving = await serveQuietly(express().use(health(one, two)))
    await two.disconnect()
    const { body } = await request(serving.url).get('/readyz').expect(503)
    expect(body).toEqual({ status: 'not ready', databases: { one: 'ready', two: 'NOT_CONNECTED' } })
    await request(serving.url).get('/livez').expect(200, { status: 'alive' })
  })

  it('does not wait behind a full pool', async () => {
    const database = await context.open({ name: 'full', pool: { size: 1, maxOverflow: 0 } })
    await using serving = await serveQuietly(express().use(health(database)))
    await using held = await database.acquire()
    expect(await held.fetchVal('select 1')).toBe(1)
    await request(serving.url).get('/readyz').expect(200)
    await request(serving.url).get('/livez').expect(200)
  })
})

eachDatabase('a check of a database', (context) => {
  const ask = async (url: string, status: number): Promise<unknown> =>
    (await request(url).get('/readyz').expect(status)).body

  it('decides with the ping, and tells why', async () => {
    const database = await context.open({ name: 'one' })
    let found: Readiness = { ready: false, detail: 'no tables yet' }
    const check = (): Promise<Readiness> => Promise.resolve(found)
    await using serving = await serveQuietly(express().use(health({ database, check })))
    expect(await ask(serving.url, 503)).toEqual({ status: 'not ready', databases: { one: 'no tables yet' } })
    found = { ready: true, detail: 'with tables of tomorrow' }
    expect(await ask(serving.url, 200)).toEqual({
      status: 'ready',
      databases: { one: 'ready: with tables of tomorrow' },
    })
    found = { ready: false }
    expect(await ask(serving.url, 503)).toMatchObject({ databases: { one: 'not ready' } })
    await database.disconnect()
    expect(await ask(serving.url, 503)).toMatchObject({ databases: { one: 'NOT_CONNECTED' } })
  })

  it('that fails is told by a code, and nothing of its message', async () => {
    const database = await context.open({ name: 'one' })
    let failing = async (): Promise<Readiness> => ({
      ready: (await database.fetchVal('select secret from nowhere')) !== null,
    })
    await using serving = await serveQuietly(
      express().use(health({ database, check: async () => failing() })),
    )
    expect(await ask(serving.url, 503)).toMatchObject({ databases: { one: 'UNDEFINED_NAME' } })
    failing = () => {
      throw new Error('secret')
    }
    expect(await ask(serving.url, 503)).toMatchObject({ databases: { one: 'CHECK_FAILED' } })
  })

  it('is of no account for a database that is not required, which is named all the same', async () => {
    const database = await context.open({ name: 'one' })
    const check = (): Promise<Readiness> => Promise.resolve({ ready: false, detail: 'no tables yet' })
    const app = express().use(health({ database, required: false, check }))
    await using serving = await serveQuietly(app)
    expect(await ask(serving.url, 200)).toEqual({ status: 'ready', databases: { one: 'no tables yet' } })
  })

  it('that takes too long leaves its last answer standing, within a second; without one, it is not ready', async () => {
    const database = await context.open({ name: 'one' })
    let isSlow = true
    const check = async (): Promise<Readiness> => {
      if (isSlow) await new Promise(() => undefined)
      return { ready: true }
    }
    await using serving = await serveQuietly(express().use(health({ database, check })))
    const began = performance.now()
    expect(await ask(serving.url, 503)).toMatchObject({ databases: { one: 'CHECK_TIMEOUT' } })
    expect(performance.now() - began).toBeLessThan(within(1000, 1500))
    isSlow = false
    expect(await ask(serving.url, 200)).toMatchObject({ databases: { one: 'ready' } })
    isSlow = true
    expect(await ask(serving.url, 200)).toMatchObject({ databases: { one: 'ready' } })
  })

  it('has its queries cancelled when it takes too long', async () => {
    const database = await context.open({ name: 'one' })
    const check = async (): Promise<Readiness> => {
      await database.fetchVal(endless(context.dialect))
      return { ready: true }
    }
    await using serving = await serveQuietly(express().use(health({ database, check })))
    expect(await ask(serving.url, 503)).toMatchObject({ databases: { one: 'CHECK_TIMEOUT' } })
    await waitFor(() => database.stats().used === 0, { what: 'the query to be cancelled' })
  })

  it('takes no connection while the pool is full', async () => {
    const database = await context.open({ name: 'one', pool: { size: 1, maxOverflow: 0 } })
    const check = async (): Promise<Readiness> => ({ ready: (await database.fetchVal('select 1')) === 1 })
    await using serving = await serveQuietly(express().use(health({ database, check })))
    await ask(serving.url, 200)
    await using held = await database.acquire()
    expect(await held.fetchVal('select 1')).toBe(1)
    const { acquired } = database.stats()
    await ask(serving.url, 200)
    expect(database.stats()).toMatchObject({ acquired, waiting: 0, timedOut: 0 })
  })
})
