/** What users write: the same small application and the same tests, as files of each kind of project. */

const IMPORTS = `
import { Database, NotConnectedError } from 'millpond'
import { monitor, problems, serve, transactionPerRequest } from 'millpond/express'
import express from 'express'
`

const REQUIRES = `
const { Database, NotConnectedError } = require('millpond')
const { monitor, problems, serve, transactionPerRequest } = require('millpond/express')
const express = require('express')
`

/** Prints `works` when a query, a transaction, an error, the monitor's page and a stop have done what they should. */
const APPLICATION = `
async function main() {
  const database = new Database(process.env.DATABASE_URL ?? '')
  const refused = await database.fetchVal('select 1').catch((error) => error)
  if (!(refused instanceof NotConnectedError)) throw new Error('another class of errors')
  const app = express()
  app.get('/', transactionPerRequest(database), async (req, res) => {
    res.json(await database.fetchAll('select 1 as one'))
  })
  app.get('/wrong', (req, res, next) => void database.execute('selec').catch(next))
  app.use('/monitor', monitor(database))
  app.use(problems({ onError: () => undefined }))
  const quiet = { info() {}, warn() {}, error() {} }
  const serving = await serve(app, { port: 0, host: '127.0.0.1', databases: [database], logger: quiet })
  const get = async (path) => (await fetch(serving.url + path)).text()
  const answers = [await get('/'), await get('/wrong'), await get('/monitor/'), await get('/monitor/assets/page.js')]
  const metrics = await get('/monitor/metrics')
  await serving.close()
  const expected = [/^\\[{"one":1}\\]$/, /"status":500/, /<title>/, /import/]
  const wrong = expected.findIndex((pattern, index) => !pattern.test(answers[index] ?? ''))
  if (wrong >= 0) throw new Error(answers[wrong])
  if (!metrics.includes('db_client_')) throw new Error(metrics)
  console.log('works')
}
void main()
`

/** With types: what is used, and what the declarations say of it. */
const TYPED = APPLICATION.replaceAll('(error)', '(error: unknown)').replaceAll('(path)', '(path: string)')

const TYPES = `
import { sql, type Connection, type Meter, type PoolStats, type Transaction } from 'millpond'
import type { RequestHandler } from 'express'
import type { Serving } from 'millpond/express'
import { expectNoLeaks, rollbackEach, type DatabaseOrLater, type TestHooks } from 'millpond/testing'
export async function names(connection: Connection): Promise<string[]> {
  const found: string[] = []
  for await (const row of connection.iterate<{ name: string }>(sql\`select \${'ada'} as name\`)) found.push(row.name)
  return found
}
export const handler = (database: Database): RequestHandler => transactionPerRequest(database)
export const stats = (database: Database): PoolStats => database.stats()
export const close = (serving: Serving, transaction: Transaction): Promise<void>[] => [serving.close(), transaction.commit()]
export const ends = (transaction: Transaction): AsyncDisposable => transaction
export const table = async (database: Database): Promise<{ id: number }[]> => database.knex<{ id: number }>('posts').select('id')
export type Given = [DatabaseOrLater, TestHooks, Meter]
export const inTests = (database: Database): void => { rollbackEach(database); expectNoLeaks(database) }
`

/** A table that only rolled back tests have written is empty at the beginning of each. */
const TESTS = `
const database = new Database(process.env.DATABASE_URL)
start(async () => {
  await database.connect()
  await database.execute('create table if not exists ' + table + ' (id integer primary key)')
})
end(() => database.disconnect())
expectNoLeaks(database)
rollbackEach(database)
for (const round of [1, 2]) {
  test('is rolled back after round ' + round, async () => {
    await database.transaction((tx) => tx.execute('insert into ' + table + ' values (1)'))
    const count = await database.fetchVal('select count(*) from ' + table)
    if (Number(count) !== 1) throw new Error('it holds ' + count)
  })
}
`

const FROM_TESTING = "import { Database } from 'millpond'\nimport { expectNoLeaks, rollbackEach } from 'millpond/testing'\n"

export const FILES: Readonly<Record<string, string>> = {
  'plain.mjs': IMPORTS + APPLICATION,
  'plain.cjs': REQUIRES + APPLICATION,
  'typed.mts': IMPORTS + TYPES + TYPED,
  'typed.cts': IMPORTS + TYPES + TYPED,
  'typed.ts': IMPORTS + TYPES + TYPED,
  'tsconfig.json': JSON.stringify({
    compilerOptions: {
      target: 'es2020',
      lib: ['es2020'],
      module: 'nodenext',
      outDir: 'compiled',
      types: ['node'],
      strict: true,
      exactOptionalPropertyTypes: true,
      skipLibCheck: false,
    },
    files: ['typed.mts', 'typed.cts'],
  }),
  'both.mjs': `
    import { createRequire } from 'node:module'
    import * as imported from 'millpond'
    import * as express from 'millpond/express'
    const required = createRequire(import.meta.url)('millpond')
    const error = new required.UniqueViolationError('taken', 'insert', {})
    if (!(error instanceof imported.DatabaseError)) throw new Error('another class of errors')
    if (createRequire(import.meta.url)('millpond/express').serve !== express.serve) throw new Error('loaded twice')
    console.log('works')
  `,
  'node.test.mjs': `
    import test, { before as start, after as end } from 'node:test'
    ${FROM_TESTING}
    const table = 'package_node'
    ${TESTS}
  `,
  'given.test.mjs': `
    import test, { before as start, after as end, beforeEach, afterEach } from 'node:test'
    import * as testing from 'millpond/testing'
    import { Database } from 'millpond'
    const rollbackEach = (database) => testing.rollbackEach(database, { beforeEach, afterEach })
    const expectNoLeaks = (database) => testing.expectNoLeaks(database, test)
    const table = 'package_given'
    ${TESTS}
  `,
  'vitest.spec.mjs': `
    import { test, beforeAll as start, afterAll as end } from 'vitest'
    ${FROM_TESTING}
    const table = 'package_vitest'
    ${TESTS}
  `,
  'jest.test.js': `
    const { Database } = require('millpond')
    const { expectNoLeaks, rollbackEach } = require('millpond/testing')
    const [start, end, table] = [beforeAll, afterAll, 'package_jest']
    ${TESTS}
  `,
}

/** The databases and drivers that Knex and this library could load, and a program for PostgreSQL does not have. */
export const EXTERNAL = [
  '@appthreat/sqlite3', 'better-sqlite3', 'mariadb', 'mysql', 'mysql2', 'oracledb', 'pg-native', 'pg-query-stream', 'sqlite3',
  'tedious',
] // prettier-ignore

/** What a bundle of ES modules needs that has packages in it that call require(), as Express, Knex and pg do. */
export const REQUIRE = "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);"
