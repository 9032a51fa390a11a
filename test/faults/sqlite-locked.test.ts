/** Calls that wait for a SQLite file which another process has locked: they can be cancelled, and run when it is free. */
import { writeFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import type { Database as Driver } from 'sqlite3'
import { Database, DatabaseURL, QueryCanceledError, QueryTimeoutError } from '../../src/database'
import { all, failure, undone } from '../database/support'
import { sqliteScratches } from '../support/each-database'
import { standingCheck } from '../support/standing-check'

/** Far less than SQLite's own busy timeout. */
const SOON_MILLIS = 2000
const LIMIT_MILLIS = 100
const INSERT = 'insert into t default values'

describe.each(sqliteScratches())('a SQLite file that another process has locked: $title', (scratch) => {
  standingCheck()
  let database: Database
  let other: Driver

  const ask = (sql: string): Promise<void> =>
    new Promise((resolve, reject) => {
      other.exec(sql, (error) => (error ? reject(error) : resolve()))
    })

  beforeEach(async () => {
    const url = await scratch.create()
    database = new Database(url)
    await database.connect()
    await database.execute('create table t (id integer primary key)')
    // A connection outside of the library is like another process to SQLite.
    other = await scratch.open(url)
    await ask('begin immediate')
  })
  afterEach(async () => {
    await new Promise((resolve) => other.close(resolve))
    await database.disconnect()
  })
  afterAll(() => scratch.dropAll())

  it('does not delay a transaction or a write beyond its time limit', async () => {
    const begun = performance.now()
    const limit = { timeoutMillis: LIMIT_MILLIS }
    expect(await failure(database.transaction(async () => undefined, limit))).toBeInstanceOf(
      QueryTimeoutError,
    )
    expect(await failure(database.execute(INSERT, {}, limit))).toBeInstanceOf(QueryTimeoutError)
    expect(performance.now() - begun).toBeLessThan(SOON_MILLIS)
  })

  it('does not keep a write from being aborted, nor disconnect() from ending it', async () => {
    const begun = performance.now()
    const signal = AbortSignal.timeout(LIMIT_MILLIS)
    expect(await failure(database.execute(INSERT, {}, { signal }))).toBeInstanceOf(QueryCanceledError)
    const waiting = failure(database.execute(INSERT))
    await database.disconnect({ graceMillis: LIMIT_MILLIS })
    await waiting
    expect(performance.now() - begun).toBeLessThan(SOON_MILLIS)
  })

  it('is written once it is free, in the order of the calls', async () => {
    const waiting = [1, 2, 3].map((id) => database.execute('insert into t (id) values (:id)', { id }))
    expect(await database.fetchVal('select count(*) from t')).toBe(0)
    await ask('commit')
    expect((await Promise.all(waiting)).map(({ lastInsertId }) => lastInsertId)).toEqual([1, 2, 3])
  })

  it('is awaited by the first write after a savepoint, too', async () => {
    await database.connection(async (connection) => {
      await connection.execute('savepoint s')
      const waiting = connection.execute(INSERT)
      await delay(LIMIT_MILLIS)
      await ask('commit')
      expect((await waiting).rowCount).toBe(1)
      await connection.execute('release s')
    })
  })

  describe('that cannot be read', () => {
    let single: Database

    beforeEach(async () => {
      await new Promise((resolve) => other.close(resolve))
      const url = await scratch.create()
      writeFileSync(new DatabaseURL(url).database, '')
      other = await scratch.open(url)
      // While another process reads it, it keeps its rollback journal, in which a writer excludes readers.
      await ask(
        'create table f (id integer primary key, ok boolean); insert into f values (1, 1); begin; select * from f',
      )
      single = new Database(url, { pool: { size: 1, maxOverflow: 0 } })
      await single.connect()
      await ask('commit')
    })
    afterEach(() => single.disconnect())

    const query = 'select * from f where id = 1'
    const flags = [{ id: 1, ok: true }]

    it('is awaited by questions about columns and ids, too', async () => {
      await ask('begin exclusive')
      const reading = [single.fetchAll(query), all(single.iterate(query))]
      const inserting = single.execute('insert into f (ok) values (0)')
      await delay(LIMIT_MILLIS)
      await ask('commit')
      expect(await Promise.all(reading)).toEqual([flags, flags])
      expect(await inserting).toEqual({ rowCount: 1, lastInsertId: 2 })
    })

    it('is awaited by a read-only transaction on a connection that has to read the schema again', async () => {
      await undone(
        single.transaction(async (tx) => {
          await tx.execute('create table undone (id integer)')
          throw new Error('out')
        }),
      )
      await ask('begin exclusive')
      const reading = single.transaction((tx) => tx.fetchAll(query), { readOnly: true })
      await delay(LIMIT_MILLIS)
      await ask('commit')
      expect(await reading).toEqual(flags)
      expect((await single.execute('insert into f (ok) values (0)')).rowCount).toBe(1)
    })
  })

  it('is awaited as long as a busy_timeout that afterConnect has set', async () => {
    await using patient = new Database(database.url.href, {
      afterConnect: async (connection) => void (await connection.execute('pragma busy_timeout = 300')),
    })
    await patient.connect()
    const begun = performance.now()
    expect((await failure(patient.execute(INSERT))).name).toBe('SerializationError')
    expect(performance.now() - begun).toBeGreaterThan(250)
    expect(performance.now() - begun).toBeLessThan(SOON_MILLIS)
  })
})
