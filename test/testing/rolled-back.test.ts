/** rolledBack(): concurrent tests, each rolled back in a transaction of its own. */
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import express, { type Express } from 'express'
import request from 'supertest'
import type { Database } from '../../src/database'
import { problems, requestScope, transactionPerRequest } from '../../src/express'
import { inTests, rolledBack } from '../../src/testing'
import { eachDatabase } from '../support/each-database'
import { freePort } from '../support/free-port'
import { failure } from '../database/support'

type App = Parameters<typeof request>[0]

eachDatabase('rolledBack', (context) => {
  let database: Database
  let app: Express

  beforeEach(async () => {
    database = await context.open({ pool: { size: 10, maxOverflow: 0 } })
    await database.execute('create table notes (id integer primary key, body text not null)')
    app = express().use(requestScope(), express.json())
    app.post('/notes', transactionPerRequest(database), async (req, res) => {
      await database.execute('insert into notes values (:id, :body)', req.body as Record<string, unknown>)
      res.status(201).json(await database.fetchVal('select count(*) from notes').then(Number))
    })
    app.get('/notes', async (_req, res) => {
      res.json(await database.fetchAll(database.table('notes').select('id', 'body').orderBy('id')))
    })
    app.use(problems({ onError: () => undefined }))
  })

  afterEach(() => context.admin('drop table notes'))

  /** Writes the same keys as all other tests, by requests and directly, and checks what it reads. */
  const writesItsOwn = async (n: number, server: App, headers: Record<string, string>): Promise<void> => {
    expect(await database.fetchVal('select count(*) from notes').then(Number)).toBe(0)
    await request(server)
      .post('/notes')
      .set(headers)
      .send({ id: 1, body: `of ${n}` })
      .expect(201, '1')
    await database.transaction((tx) => tx.execute('insert into notes values (2, :n)', { n: `by ${n}` }))
    const rows = [
      { id: 1, body: `of ${n}` },
      { id: 2, body: `by ${n}` },
    ]
    await request(server).get('/notes').set(headers).expect(200, rows)
  }

  it('gives each of many concurrent tests a transaction, its requests included, and stores nothing', async () => {
    const tests = Array.from({ length: 40 }, (_, n) => rolledBack(database, () => writesItsOwn(n, app, {})))
    await Promise.all(tests.map((test) => test()))
    expect(await database.fetchAll('select * from notes')).toEqual([])
    expect(database.stats()).toMatchObject({ used: 0, waiting: 0 })
  })

  describe('with a server that listens before the tests', () => {
    let server: Server
    beforeEach(async () => {
      server = createServer(inTests(app)).listen(await freePort(), '127.0.0.1')
      await once(server, 'listening')
    })
    afterEach(async () => {
      server.close()
      await once(server, 'close')
    })

    it('finds the test of a request by its header', async () => {
      const tests = Array.from({ length: 20 }, (_, n) =>
        rolledBack(database, ({ headers }) => writesItsOwn(n, server, headers)),
      )
      await Promise.all(tests.map((test) => test()))
      expect(await database.fetchAll('select * from notes')).toEqual([])
    })

    it('runs a request without a known test header outside of any test', async () => {
      let old: Record<string, string> = {}
      await rolledBack(database, ({ headers }) => Promise.resolve(void (old = headers)))()
      for (const headers of [old, { 'x-millpond-test': 'of nobody' }]) {
        const id = Object.values(headers)[0] === 'of nobody' ? 1 : 2
        await request(server).post('/notes').set(headers).send({ id, body: 'kept' }).expect(201)
      }
      expect(await database.fetchVal('select count(*) from notes').then(Number)).toBe(2)
    })
  })

  if (context.dialect === 'postgresql') {
    it('runs concurrent tests on connections of their own', async () => {
      let arrived = 0
      let meet = (): void => undefined
      const met = new Promise<void>((resolve) => (meet = resolve))
      const test = rolledBack(database, async () => {
        await database.execute('insert into notes values (:id, :body)', { id: (arrived += 1), body: 'a' })
        if (arrived === 5) meet()
        await met
        expect(await database.fetchVal('select count(*) from notes').then(Number)).toBe(1)
      })
      await Promise.all(Array.from({ length: 5 }, test))
    })
  }

  it('continues after a failed statement', async () => {
    await rolledBack(database, async () => {
      await request(app).post('/notes').send({ id: 1, body: 'a' }).expect(201)
      await request(app).post('/notes').send({ id: 1, body: 'a' }).expect(409)
      expect(await failure(database.execute("insert into notes values (1, 'b')"))).toMatchObject({
        code: 'UNIQUE_VIOLATION',
      })
      expect(await database.fetchVal('select body from notes')).toBe('a')
    })()
    expect(await database.fetchAll('select * from notes')).toEqual([])
  })

  it("rejects with its test's error, and rolls back", async () => {
    const error = await failure(
      rolledBack(database, async () => {
        await database.execute("insert into notes values (1, 'a')")
        throw new Error('the test has failed')
      })(),
    )
    expect(error.message).toBe('the test has failed')
    expect(await database.fetchAll('select * from notes')).toEqual([])
  })

  it('cannot be nested', async () => {
    const nested = rolledBack(database, () => rolledBack(database, async () => undefined)())
    expect((await failure(nested())).message).toMatch(/cannot begin inside of a transaction/)
  })
})
