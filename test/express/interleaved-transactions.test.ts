/** Thousands of pairs of requests with interleaved transactions: a rollback of one undoes only its own rows. */
import { Agent, request as httpRequest } from 'node:http'
import { setImmediate as turn } from 'node:timers/promises'
import express from 'express'
import { rounds } from '../support/rounds'
import type { Database } from '../../src/database'
import { problems, transactionPerRequest } from '../../src/express'
import { eachDatabase } from '../support/each-database'
import { report } from '../support/report'
import { serveQuietly } from './support'

/** INTERLEAVED_PAIRS=10000 is what a release has to pass. */
const PAIRS = rounds(100, 300, 'INTERLEAVED_PAIRS')
/** Pairs at the same time. */
const AT_ONCE = 8

eachDatabase('two requests with interleaved transactions', (context) => {
  jest.setTimeout(30_000 + PAIRS * 30)
  let database: Database

  beforeEach(async () => {
    database = await context.open({ pool: { size: 2 * AT_ONCE, maxOverflow: 0 }, statementTimeoutMillis: 0 })
    await database.execute('create table pairs (id integer not null, part integer not null)')
  })
  afterEach(() => database.execute('drop table pairs'))

  it('keep no row of the one that was rolled back, and lose none of the other', async () => {
    const app = express()
    /** Requests between their two rows, and the number of pairs that both were so at the same time. */
    const halves = new Set<number>()
    let interleaved = 0
    const insert = (id: number, part: number): Promise<unknown> =>
      database.execute('insert into pairs (id, part) values (:id, :part)', { id, part })
    const insertBoth = async (id: number): Promise<void> => {
      await insert(id, 1)
      halves.add(id)
      if (halves.has(id ^ 1)) interleaved += 1
      await turn()
      await insert(id, 2)
      halves.delete(id)
    }
    // Both rows of an even id are kept; the others are rolled back, by an error or by a status.
    app.post('/thrown/:id', async ({ params }, response) => {
      const id = Number(params.id)
      await database.transaction(async () => {
        await insertBoth(id)
        if (id % 2 === 1) throw new Error('no')
      })
      response.status(201).end()
    })
    app.post('/refused/:id', transactionPerRequest(database), async ({ params }, response) => {
      const id = Number(params.id)
      await insertBoth(id)
      response.status(id % 2 === 1 ? 409 : 201).end()
    })
    app.use(problems({ onError: () => {} }))
    await using serving = await serveQuietly(app)
    const { port } = serving
    const agent = new Agent({ keepAlive: true })
    const post = (path: string): Promise<number | undefined> =>
      new Promise((resolve, reject) => {
        const sent = httpRequest({ port, host: '127.0.0.1', agent, method: 'POST', path }, (answer) => {
          answer.resume().on('end', () => resolve(answer.statusCode))
        })
        sent.on('error', reject).end()
      })

    const statuses = new Map<string, number>()
    const began = performance.now()
    let next = 0
    const pairs = async (): Promise<void> => {
      while (next < PAIRS) {
        const id = 2 * next++
        const path = id % 4 === 0 ? '/thrown' : '/refused'
        const both = await Promise.all([post(`${path}/${id}`), post(`${path}/${id + 1}`)])
        const key = `${path} ${both.join(' ')}`
        statuses.set(key, (statuses.get(key) ?? 0) + 1)
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, pairs))
    agent.destroy()
    report(`interleaved on ${context.dialect}`, {
      pairs: PAIRS,
      'both half done at once': interleaved,
      seconds: (performance.now() - began) / 1000,
    })
    // SQLite has one writer at a time, so that the requests take turns.
    expect(interleaved > PAIRS / 10).toBe(context.dialect === 'postgresql')

    expect(Object.fromEntries(statuses)).toEqual({
      '/thrown 201 500': PAIRS / 2,
      '/refused 201 409': PAIRS / 2,
    })
    const count = async (sql: string): Promise<number> => Number(await database.fetchVal(sql))
    expect(await count('select count(*) from pairs where id % 2 = 1')).toBe(0)
    expect(await count('select count(*) from pairs')).toBe(2 * PAIRS)
    expect(await count('select count(distinct id) from pairs')).toBe(PAIRS)
  })
})
