/** A server whose clients disconnect, which its handlers do not handle. Prints its URL, and reports its state by HTTP. */
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import express, { type Express } from 'express'
import { Database } from '../../../src/database'
import { problems, serve, transactionPerRequest } from '../../../src/express'

export interface DesertedScript {
  readonly url: string
  readonly port: number
}

/** What `/state` answers. */
export interface DesertedState {
  readonly used: number
  readonly waiting: number
  /** Connections that were opened, of those that can be left. */
  readonly created: number
  /** Errors that `onError` received. */
  readonly unexpected: readonly string[]
}

/** Rows that the server makes one by one, a thousand in a second: at full speed, streams would be all that there is to measure. */
const ENDLESS = 'select generate_series(1, 100000000) as n, repeat(chr(120), 100) as x, pg_sleep(0.001)'
const FEW = { batchSize: 20 }

const unexpected: string[] = []

function appOf(database: Database): Express {
  const app = express()
  app.get('/quick', async (_request, response) => {
    response.json(await database.fetchVal('select pg_sleep(0.02)'))
  })
  app.get('/stuck', async (_request, response) => {
    response.json(await database.fetchVal('select pg_sleep(600)'))
  })
  app.get('/stream', async (_request, response) => {
    for await (const row of database.iterate(ENDLESS, {}, FEW)) {
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
      for await (const row of database.iterate(ENDLESS, {}, FEW)) {
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
  return app
}

/** What those who stay ask for. `reading` has one connection of its own: it shares the process with those who leave, not their queue. */
function routesOfStayers(app: Express, database: Database, reading: Database): void {
  app.get('/live', async (_request, response) => {
    response.json(await reading.fetchVal('select 1'))
  })
  app.get('/state', (_request, response) => {
    const { used, waiting, created } = database.stats()
    response.json({ used, waiting, created, unexpected } satisfies DesertedState)
  })
  // Everything that the pool has, at once.
  app.get('/whole', async (_request, response) => {
    const { size } = database.stats()
    const all = await Promise.all(Array.from({ length: size }, () => database.acquire()))
    await Promise.all(all.map((connection) => connection.fetchVal('select pg_sleep(0.05)')))
    for (const connection of all) await connection.release()
    response.json(all.length)
  })
}

async function main({ url, port }: DesertedScript): Promise<void> {
  const database = new Database(url, { pool: { size: 8, maxOverflow: 4 } })
  const reading = new Database(url, { pool: { size: 1, maxOverflow: 0 } })
  const app = appOf(database)
  routesOfStayers(app, database, reading)
  app.use(problems({ onError: (error) => unexpected.push(String(error)) }))
  const silent = { info: () => {}, warn: () => {}, error: () => {} }
  const serving = await serve(app, {
    host: '127.0.0.1',
    port,
    databases: [database, reading],
    logger: silent,
  })
  process.stdout.write(`${serving.url}\n`)
}

void main(JSON.parse(process.argv[2] ?? '') as DesertedScript)
