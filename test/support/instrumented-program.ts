/**
 * Runs statements under OpenTelemetry's instrumentations of pg and Knex, by Knex itself or by a Database, and prints the
 * outlines of the spans:
 *
 *     node instrumented-program.js <url> <knex | database | traced database>
 */
import type * as knexModule from 'knex'
import { KnexInstrumentation } from '@opentelemetry/instrumentation-knex'
import { PgInstrumentation } from '@opentelemetry/instrumentation-pg'
import type * as library from '../../src/database'
import { Spans } from './spans'

const [url = '', subject] = process.argv.slice(2)
const spans = new Spans()
// It puts comments into texts, and so has to tell one query object from another.
const pgInstrumentation = new PgInstrumentation({ addSqlCommenterCommentToQueries: true })
for (const instrumentation of [pgInstrumentation, new KnexInstrumentation()])
  instrumentation.setTracerProvider(spans.provider)
// Loaded after the instrumentations, which patch what is loaded.
const { knex } = require('knex') as typeof knexModule
const { Database, traceQueries } = require('../../src/database') as typeof library

type Knex = library.Database['knex']

void main()

async function main(): Promise<void> {
  const database = new Database(url)
  const { database: name } = database.url
  const outlines: Record<string, readonly string[]> = {}
  async function outline(title: string, work: () => PromiseLike<unknown>): Promise<void> {
    spans.take()
    await spans.within(title, async () => {
      await work()
    })
    outlines[title] = spans.outline().map((line) => line.replaceAll(name, 'db'))
  }
  if (subject === 'knex') {
    const isFile = database.url.dialect === 'sqlite'
    const instance = knex({
      client: isFile ? 'sqlite3' : 'pg',
      connection: isFile ? { filename: name } : url,
      useNullAsDefault: true,
    })
    await instance.raw('select 1')
    await runBuilders(instance, outline)
    await outline('transaction', () =>
      instance.transaction((trx) => trx('posts').insert({ title: 'second' })),
    )
    await instance.destroy()
  } else {
    await database.connect()
    if (subject === 'traced database') traceQueries(database, { tracerProvider: spans.provider })
    await runBuilders(database.knex, outline)
    await outline('transaction', () =>
      database.transaction(async () => {
        await database.table('posts').insert({ title: 'second' })
      }),
    )
    await outline('text', () =>
      database.fetchAll('select title from posts where title = :title', { title: 'first' }),
    )
    await outline('stream', async () => {
      for await (const _row of database.iterate('select title from posts')) continue
    })
    await database.disconnect()
  }
  process.stdout.write(JSON.stringify(outlines))
}

async function runBuilders(
  builders: Knex,
  outline: (title: string, work: () => PromiseLike<unknown>) => Promise<void>,
): Promise<void> {
  await outline('builder', () => builders('posts').where({ title: 'first' }))
  await outline('failing builder', () => builders('nowhere').catch(() => undefined))
}
