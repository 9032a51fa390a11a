/** The example of docs/testing.md: endpoint tests that are rolled back, one by one. */
import express from 'express'
import request from 'supertest'
import { Database } from '../../src/database'
import { problems, requestScope, transactionPerRequest } from '../../src/express'
import { expectNoLeaks, rollbackEach } from '../../src/testing'

const database = new Database('sqlite://', { pool: { leakThresholdMillis: 1000 } })

const app = express().use(requestScope(), express.json())
app.get('/users', async (_req, res) => {
  res.json(await database.fetchAll('SELECT id, name FROM users ORDER BY id'))
})
app.post('/users', transactionPerRequest(database), async (req, res) => {
  const { name } = req.body as { name: string }
  const id = await database.fetchVal('INSERT INTO users (name) VALUES (:name) RETURNING id', { name })
  res.status(201).json({ id, name })
})
app.use(problems({ onError: () => undefined }))

beforeAll(async () => {
  await database.connect()
  await database.execute('CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL)')
  await database.execute("INSERT INTO users (name) VALUES ('ada')")
})
afterAll(() => database.disconnect())

rollbackEach(database)
expectNoLeaks(database)

it('adds a user', async () => {
  await request(app).post('/users').send({ name: 'grace' }).expect(201)
  const { body } = await request(app).get('/users').expect(200)
  expect(body).toHaveLength(2)
})

it('refuses a name that is taken, and begins with what was there before all tests', async () => {
  await request(app).post('/users').send({ name: 'ada' }).expect(409)
  const { body } = await request(app).get('/users').expect(200)
  expect(body).toEqual([{ id: 1, name: 'ada' }])
})
