/** rollbackEach(): tests that are rolled back with the requests that they send; and the leak checks. */
import express, { type Express } from 'express'
import request from 'supertest'
import { Database, type Transaction } from '../../src/database'
import { problems, requestScope, transactionPerRequest } from '../../src/express'
import { expectNoLeaks, rollbackEach } from '../../src/testing'
import { eachDatabase } from '../support/each-database'
import { runScript } from '../database/support'

eachDatabase('rollbackEach', (context) => {
  let database: Database
  let app: Express

  beforeAll(async () => {
    database = new Database(context.url)
    await database.connect()
    await database.execute('create table notes (id integer primary key, body text not null)')
    await database.disconnect()
    app = express().use(requestScope(), express.json())
    app.post('/notes', transactionPerRequest(database), async (req, res) => {
      await database.execute('insert into notes values (:id, :body)', req.body as Record<string, unknown>)
      res.status(201).json(await database.fetchVal('select count(*) from notes').then(Number))
    })
    app.get('/notes', async (_req, res) => {
      res.json(await database.fetchAll('select id, body from notes order by id'))
    })
    app.use(problems({ onError: () => undefined }))
  })

  expectNoLeaks(() => database)
  rollbackEach(() => database)

  for (const round of [1, 2]) {
    it(`begins round ${round} without the rows of the round before`, async () => {
      await request(app).post('/notes').send({ id: 1, body: 'a' }).expect(201, '1')
      await database.transaction((tx) => tx.execute("insert into notes values (2, 'b')"))
      await request(app)
        .get('/notes')
        .expect(200, [
          { id: 1, body: 'a' },
          { id: 2, body: 'b' },
        ])
    })
  }

  it('lets a request fail and roll back only its own work', async () => {
    await request(app).post('/notes').send({ id: 1, body: 'a' }).expect(201)
    await request(app).post('/notes').send({ id: 1, body: 'again' }).expect(409)
    await request(app)
      .get('/notes')
      .expect(200, [{ id: 1, body: 'a' }])
  })

  it('runs many requests in turn', async () => {
    const answers = await Promise.all(
      [1, 2, 3, 4, 5].map((id) => request(app).post('/notes').send({ id, body: 'x' })),
    )
    expect(answers.map(({ status }) => status)).toEqual([201, 201, 201, 201, 201])
    expect(await database.fetchVal('select count(*) from notes').then(Number)).toBe(5)
  })
})

describe('the leak checks of millpond/testing', () => {
  /** Runs a test file in a jest of its own, and resolves to its output. */
  const outcome = (body: string): string => `
    const hooks = { beforeEach: [], afterEach: [] }
    globalThis.beforeEach = (hook) => hooks.beforeEach.push(hook)
    globalThis.afterEach = (hook) => hooks.afterEach.push(hook)
    const { Database } = require('./src/database')
    const { rollbackEach, expectNoLeaks } = require('./src/testing')
    const database = new Database('sqlite://', { pool: { leakThresholdMillis: 60000 } })
    async function main() {
      await database.connect()
      ${body}
      for (const hook of hooks.beforeEach) await hook()
      await leave()
      for (const hook of hooks.afterEach) await hook()
    }
    main().then(() => console.log('passed'), (error) => console.log(error.message)).finally(() => process.exit())
  `

  it.each([
    [
      'a connection',
      'expectNoLeaks(database); const leave = () => database.acquire()',
      /- a connection, of nobody/,
    ],
    [
      'a transaction',
      'expectNoLeaks(database); const leave = () => database.begin()',
      /- a transaction that is open/,
    ],
    [
      'a transaction',
      'rollbackEach(database); const leave = () => database.begin()',
      /- a transaction that is open/,
    ],
    ['a connection', 'rollbackEach(database); const leave = () => database.acquire()', /taken at /],
    ['nothing', 'rollbackEach(database); const leave = () => database.fetchVal("select 1")', /passed/],
  ])('report %s that a test has left open by: %s', async (_what, body, expected) => {
    const { stdout } = await runScript(outcome(body))
    expect(stdout).toMatch(expected)
  })

  it('explain where to call them when there is no test runner', async () => {
    const { stdout } = await runScript(
      "try { require('./src/testing').expectNoLeaks() } catch (error) { console.log(error.message) }",
    )
    expect(stdout).toMatch(/there are no global ones, .* Call it in a test file/)
  })

  it('do not report a handle that is still open in a forced rollback', async () => {
    await using database = new Database('sqlite://')
    await database.connect()
    await database.forceRollback(async () => {
      const tx: Transaction = await database.begin()
      expect(database.holders()).toHaveLength(1)
      await tx.rollback()
      expect(database.holders()).toEqual([])
    })
  })
})
