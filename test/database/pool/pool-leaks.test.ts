/** Connections that do not come back: found, told with the place where they were taken, and taken back. */
import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import {
  type Database,
  type LeakEvent,
  PoolTimeoutError,
  runInScope,
  TransactionClosedError,
} from '../../../src/database'
import { compiledFolder } from '../../support/compiled'
import { eachDatabase } from '../../support/each-database'
import { standingCheck } from '../../support/standing-check'
import { waitFor } from '../../support/wait-for'
import { endless, failure, idsOf, running } from '../support'

eachDatabase('a leak', (context) => {
  const leaksOf = (database: Database): LeakEvent[] => {
    const leaks: LeakEvent[] = []
    database.on('leak', (leak) => leaks.push(leak))
    return leaks
  }

  beforeEach(async () => {
    const database = await context.open()
    await database.execute('create table t (id integer)')
  })
  afterEach(async () => {
    await context.admin('drop table t')
  })

  it('is told once, with its label and its place, and again when it comes back', async () => {
    const database = await context.open({ pool: { leakThresholdMillis: 40 } })
    const leaks = leaksOf(database)
    const forgotten = await runInScope({ label: 'GET /report' }, () => database.begin())
    await waitFor(() => leaks.length > 0, { what: 'the leak to be told' })
    await forgotten.fetchVal('select 1')
    await database.fetchVal('select 1')
    expect(leaks).toEqual([
      {
        state: 'held',
        label: 'GET /report',
        site: expect.stringContaining('pool-leaks.test.ts'),
        heldMillis: expect.any(Number),
        sql: null,
        inTransaction: true,
      },
    ])
    expect(leaks[0]?.heldMillis).toBeGreaterThan(40)
    await forgotten.rollback()
    expect(leaks.map(({ state }) => state)).toEqual(['held', 'returned'])
  })

  it('is not what a listener gives back that was told of another one', async () => {
    const database = await context.open({ pool: { leakThresholdMillis: 40 } })
    const leaks = leaksOf(database)
    const first = await database.acquire()
    const second = await database.acquire()
    database.on('leak', () => void second.release())
    await waitFor(() => leaks.length > 0, { what: 'the leak to be told' })
    await first.release()
    expect(leaks.map(({ state }) => state)).toEqual(['held', 'returned'])
  })

  it('is not what comes back in time', async () => {
    const database = await context.open({ pool: { leakThresholdMillis: 2000 } })
    const leaks = leaksOf(database)
    for (let round = 0; round < 50; round += 1) {
      await Promise.all([1, 2, 3].map(() => database.transaction((tx) => tx.fetchVal('select 1'))))
    }
    expect(leaks).toEqual([])
  })

  it('is not what was held while the program did something else', async () => {
    const database = await context.open({ pool: { leakThresholdMillis: 500, leakTimeoutMillis: 500 } })
    const leaks = leaksOf(database)
    await database.transaction(async (tx) => {
      const until = performance.now() + 2000
      // As a long computation does, or a process that is stopped.
      while (performance.now() < until);
      expect(await tx.fetchVal('select 1')).toBe(1)
    })
    expect(leaks).toEqual([])
  })

  it('is taken back past its time: rolled back, and clean for the next one', async () => {
    const pool = { size: 1, maxOverflow: 0, leakThresholdMillis: 40, leakTimeoutMillis: 120 }
    const database = await context.open({ pool })
    const leaks = leaksOf(database)
    const forgotten = await database.begin()
    await forgotten.execute('insert into t values (1)')
    // Waits for the connection, and gets it.
    await database.execute('insert into t values (2)')
    expect(leaks.map(({ state }) => state)).toEqual(['held', 'reclaimed'])
    expect(await idsOf(database)).toEqual([2])
    for (const late of [() => forgotten.commit(), () => forgotten.execute('insert into t values (3)')]) {
      const error = await failure(late())
      expect(error).toBeInstanceOf(TransactionClosedError)
      expect(error.message).toMatch(/out for more than 120 ms and was taken back|has ended/)
    }
    await forgotten.rollback().catch(() => undefined)
    expect(await idsOf(database)).toEqual([2])
    expect(database.stats()).toMatchObject({ used: 0, idle: 1, retired: 0 })
  })

  it('is taken back with the statement that it runs', async () => {
    const pool = { size: 1, maxOverflow: 0, leakTimeoutMillis: 150 }
    const database = await context.open({ pool })
    const stuck = failure(database.connection((connection) => connection.fetchAll(endless(context.dialect))))
    await running(database, context.dialect === 'sqlite' ? 'recursive' : 'pg_sleep')
    expect(await database.fetchVal('select 1')).toBe(1)
    expect(await stuck).toMatchObject({ code: expect.stringMatching(/QUERY_CANCELED|TRANSACTION_CLOSED/) })
  })

  it('is named by those who wait in vain, with its place', async () => {
    const pool = { size: 1, maxOverflow: 0, acquireTimeoutMillis: 100, leakThresholdMillis: 1000 }
    const database = await context.open({ pool })
    const forgotten = await database.acquire()
    const error = await failure(database.fetchVal('select 1'))
    expect(error).toBeInstanceOf(PoolTimeoutError)
    expect(error.message).toMatch(/taken at .*pool-leaks\.test\.ts/)
    expect(database.holders()[0]?.site).toContain('pool-leaks.test.ts')
    await forgotten.release()
  })

  it('does not have its place looked for unless that was asked for', async () => {
    const database = await context.open({ pool: { leakThresholdMillis: 0 } })
    await using connection = await database.acquire()
    expect(await connection.fetchVal('select 1')).toBe(1)
    expect(database.holders()[0]?.site).toBeNull()
  })

  it('is not the transaction of a forced rollback', async () => {
    const options = { forceRollback: true, pool: { leakTimeoutMillis: 30 } }
    const database = await context.open(options, await context.createDatabase())
    const leaks = leaksOf(database)
    const until = performance.now() + 300
    await waitFor(() => performance.now() > until)
    expect(await database.fetchVal('select 1')).toBe(1)
    expect(leaks).toEqual([])
  })
})

describe('The place where a connection was taken', () => {
  standingCheck()

  it.each(['', '--enable-source-maps'])('is in the program, with Node started as `node %s`', async (flag) => {
    const program = `
      const { Database } = require(${JSON.stringify(path.join(compiledFolder(), 'src', 'database'))})
      const database = new Database('sqlite://', { pool: { leakThresholdMillis: 1000 } })
      async function takesOne() {
        const connection = await database.acquire()
        console.log(database.holders()[0].site)
        await connection.release()
      }
      database.connect().then(takesOne).then(() => database.disconnect())`
    const file = path.join(compiledFolder(), 'takes-one.js')
    await writeFile(file, program)
    const { stdout } = await promisify(execFile)(process.execPath, [...(flag === '' ? [] : [flag]), file])
    expect(stdout).toMatch(/^at takesOne \(.*takes-one\.js:5:\d+\)\n$/)
  })
})
