/** Leak detection: a connection held for too long is reported with the place where it was acquired, and taken back. */
import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import type { Client } from 'pg'
import {
  type Database,
  type LeakEvent,
  PoolTimeoutError,
  runInScope,
  TransactionClosedError,
} from '../../../src/database'
import { all, endless, failure, idsOf, running } from '../support'
import { compiledFolder } from '../../support/compiled'
import { eachDatabase } from '../../support/each-database'
import { standingCheck } from '../../support/standing-check'
import { waitFor } from '../../support/wait-for'

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

  it('is reported once, with its label and its place, and again when it is released', async () => {
    const database = await context.open({ pool: { leakThresholdMillis: 40 } })
    const leaks = leaksOf(database)
    const forgotten = await runInScope({ label: 'GET /report' }, () => database.begin())
    await waitFor(() => leaks.length > 0, { what: 'the leak to be reported' })
    await forgotten.fetchVal('select 1')
    await database.fetchVal('select 1')
    expect(leaks).toEqual([
      {
        state: 'held',
        label: 'GET /report',
        site: expect.stringContaining('leak-detection.test.ts'),
        heldMillis: expect.any(Number),
        sql: null,
        inTransaction: true,
      },
    ])
    expect(leaks[0]?.heldMillis).toBeGreaterThan(40)
    await forgotten.rollback()
    expect(leaks.map(({ state }) => state)).toEqual(['held', 'returned'])
  })

  it('is not reported for a connection that a leak listener releases', async () => {
    const database = await context.open({ pool: { leakThresholdMillis: 40 } })
    const leaks = leaksOf(database)
    const first = await database.acquire()
    const second = await database.acquire()
    database.on('leak', () => void second.release())
    await waitFor(() => leaks.length > 0, { what: 'the leak to be reported' })
    await first.release()
    expect(leaks.map(({ state }) => state)).toEqual(['held', 'returned'])
  })

  it('is not reported for connections that are released in time', async () => {
    const database = await context.open({ pool: { leakThresholdMillis: 2000 } })
    const leaks = leaksOf(database)
    for (let round = 0; round < 50; round += 1) {
      await Promise.all([1, 2, 3].map(() => database.transaction((tx) => tx.fetchVal('select 1'))))
    }
    expect(leaks).toEqual([])
  })

  it('is not reported for time in which the process was busy', async () => {
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

  it('is taken back after leakTimeoutMillis: rolled back, and clean for the next caller', async () => {
    const pool = { size: 1, maxOverflow: 0, leakThresholdMillis: 40, leakTimeoutMillis: 120 }
    const database = await context.open({ pool })
    const leaks = leaksOf(database)
    const forgotten = await database.begin()
    await forgotten.execute('insert into t values (1)')
    // Waits until the connection is taken back.
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

  it('is taken back while a statement runs on it', async () => {
    const pool = { size: 1, maxOverflow: 0, leakTimeoutMillis: 150 }
    const database = await context.open({ pool })
    const stuck = failure(database.connection((connection) => connection.fetchAll(endless(context.dialect))))
    await running(database, context.dialect === 'sqlite' ? 'recursive' : 'pg_sleep')
    expect(await database.fetchVal('select 1')).toBe(1)
    expect(await stuck).toMatchObject({ code: expect.stringMatching(/QUERY_CANCELED|TRANSACTION_CLOSED/) })
  })

  it('is named with its place in the PoolTimeoutError of a waiting caller', async () => {
    const pool = { size: 1, maxOverflow: 0, acquireTimeoutMillis: 100, leakThresholdMillis: 1000 }
    const database = await context.open({ pool })
    const forgotten = await database.acquire()
    const error = await failure(database.fetchVal('select 1'))
    expect(error).toBeInstanceOf(PoolTimeoutError)
    expect(error.message).toMatch(/taken at .*leak-detection\.test\.ts/)
    expect(database.holders()[0]?.site).toContain('leak-detection.test.ts')
    await forgotten.release()
  })

  it('has no place unless a threshold is set', async () => {
    const database = await context.open({ pool: { leakThresholdMillis: 0 } })
    await using connection = await database.acquire()
    expect(await connection.fetchVal('select 1')).toBe(1)
    expect(database.holders()[0]?.site).toBeNull()
  })

  it('is not reported for the transaction of a forced rollback', async () => {
    const options = { forceRollback: true, pool: { leakTimeoutMillis: 30 } }
    const database = await context.open(options, await context.createDatabase())
    const leaks = leaksOf(database)
    const until = performance.now() + 300
    await waitFor(() => performance.now() > until)
    expect(await database.fetchVal('select 1')).toBe(1)
    expect(leaks).toEqual([])
  })
})

describe('the place where a connection was acquired', () => {
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

eachDatabase('a connection that was taken back', (context) => {
  const single = { size: 1, maxOverflow: 0 }

  beforeEach(async () => {
    const database = await context.open()
    await database.execute('create table t (id integer)')
  })
  afterEach(async () => {
    await context.admin('drop table t')
  })

  /** Resolves when the one connection that was out has been taken back. */
  const takenBack = (database: Database): Promise<unknown> => {
    return waitFor(() => database.stats().used === 0, { what: 'the connection to be taken back' })
  }

  it("refuses statements of a Knex transaction, and does not let it end the next caller's", async () => {
    const database = await context.open({ pool: { ...single, leakTimeoutMillis: 500 } })
    const old = await database.knex.transaction()
    await old('t').insert({ id: 1 })
    await takenBack(database)
    await database.transaction(async (tx) => {
      await tx.execute('insert into t values (2)')
      expect(await failure(Promise.resolve(old('t').insert({ id: 3 })))).toBeInstanceOf(
        TransactionClosedError,
      )
      await Promise.resolve(old.rollback()).catch(() => undefined)
      expect(await tx.fetchVal('select 1')).toBe(1)
    })
    expect(await idsOf(database)).toEqual([2])
  })

  it('has its stream cancelled, and stays in the pool', async () => {
    const database = await context.open({ pool: { ...single, leakTimeoutMillis: 300 } })
    const stuck = failure(all(database.iterate(endless(context.dialect))))
    await waitFor(() => database.stats().used === 1, { what: 'the stream to begin' })
    expect(await database.fetchVal('select 1')).toBe(1)
    expect(await stuck).toMatchObject({ code: expect.stringMatching(/QUERY_CANCELED|TRANSACTION_CLOSED/) })
    expect(database.stats().retired).toBe(0)
  })

  it('is not one that was held while the process was busy again and again', async () => {
    const pool = { ...single, leakThresholdMillis: 1200, leakTimeoutMillis: 1200 }
    const database = await context.open({ pool })
    const leaks: string[] = []
    database.on('leak', ({ state }) => leaks.push(state))
    await database.connection(async (connection) => {
      for (let round = 0; round < 3; round += 1) {
        const until = performance.now() + 520
        while (performance.now() < until);
        // Timers run here.
        await delay(1)
      }
      expect(await connection.fetchVal('select 1')).toBe(1)
    })
    expect(leaks).toEqual([])
  })

  if (context.dialect === 'postgresql') {
    it("does not let the driver's connection into the next caller's transaction", async () => {
      const database = await context.open({ pool: { ...single, leakTimeoutMillis: 500 } })
      const connection = await database.acquire()
      const raw = connection.raw as Client
      await takenBack(database)
      await database.transaction(async (tx) => {
        expect(await failure(raw.query('insert into t values (1)'))).toBeInstanceOf(Error)
        expect(await tx.fetchAll('select id from t')).toEqual([])
      })
      await connection.release()
    })
  }
})
