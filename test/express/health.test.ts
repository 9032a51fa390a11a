/** Liveness touches no database; readiness asks each one, and says which is not there. */
import express from 'express'
import request from 'supertest'
import { health } from '../../src/express'
import { eachDatabase } from '../support/each-database'
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
