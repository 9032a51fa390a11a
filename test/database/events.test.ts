/** Listeners of a Database's events: an error that one throws, and the queries that one makes. */
import type { Database } from '../../src/database'
import { runScript } from './support'
import { eachDatabase } from '../support/each-database'
import { waitFor } from '../support/wait-for'

// In a process of its own, because jest keeps the real `uncaughtException` to itself.
const THROWING_LISTENER = (url: string): string => `
  const { Database } = require('./src/database')
  process.on('uncaughtException', (error) => console.log('uncaught:', error.message))
  const database = new Database(${JSON.stringify(url)})
  database.connect().then(async () => {
    database.on('query', () => { throw new Error('a mistake') })
    console.log('value:', await database.fetchVal('select 1'))
    await database.disconnect()
  })
`

eachDatabase('an event listener that throws', (context) => {
  it('does not fail the statement, and its error is an uncaughtException', async () => {
    const { stdout } = await runScript(THROWING_LISTENER(context.url))
    expect(stdout.split('\n').toSorted()).toEqual(['', 'uncaught: a mistake', 'value: 1'])
  })

  it('does not fail the commit that was reported to it, and its error is an uncaughtException', async () => {
    const { stdout } = await runScript(`
      const { Database } = require('./src/database')
      const database = new Database(${JSON.stringify(context.url)})
      const log = []
      process.on('uncaughtException', ({ message }) => log.push(message))
      database.on('query', ({ sql }) => {
        if (sql === 'COMMIT') throw new Error('listener')
      })
      const work = async (tx) => {
        tx.afterCommit(() => log.push('committed'))
        tx.afterRollback(() => log.push('rolled back'))
        await tx.fetchVal('select 1')
      }
      void database.connect()
        .then(() => database.transaction(work))
        .then(() => database.disconnect())
        .then(() => process.stdout.write(log.toSorted().join()))`)
    expect(stdout).toBe('committed,listener')
  })
})

eachDatabase('a query made by an event listener', (context) => {
  let database: Database

  beforeEach(async () => {
    database = await context.open()
    await database.execute('create table t (id integer primary key, name text)')
  })
  afterEach(async () => {
    await context.admin('drop table t')
  })

  it('does not run in the transaction whose statement was reported', async () => {
    const seen: unknown[] = []
    database.on('query', ({ sql }) => {
      if (!sql.startsWith('insert')) return
      void database.fetchVal('select count(*) from t').then((count) => seen.push(Number(count)))
    })
    await database.transaction(async (tx) => {
      await tx.execute("insert into t values (1, 'x')")
      await waitFor(() => seen.length > 0, { what: 'the listener’s query' })
    })
    expect(seen).toEqual([0])
  })
})
