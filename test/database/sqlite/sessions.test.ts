/** SQLite connections: the writer's turn, what a stream keeps open, settings, locks and interrupted transactions. */
import { readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  Database,
  type DatabaseOptions,
  DatabaseURL,
  TransactionClosedError,
  UniqueViolationError,
} from '../../../src/database'
import { all, endless, failure, idsOf, numbers, runScript } from '../support'
import { eachDatabase } from '../../support/each-database'
import { waitFor } from '../../support/wait-for'

eachDatabase('SQLite connections', (context) => {
  let database: Database
  let tables = 0
  let table: string

  beforeEach(async () => {
    database = await context.open()
    table = `t${(tables += 1)}`
    await database.execute(`create table ${table} (id integer)`)
    await database.execute(`insert into ${table} values (1), (2), (3)`)
  })

  afterEach(() => context.admin(`drop table if exists ${table}`))

  it.each(['COMMIT -- to disk', 'end /* to be sure */'])(
    'end a transaction that is committed by the text %s',
    async (commit) => {
      await using connection = await database.acquire()
      await connection.execute('begin -- to write')
      await connection.execute(`insert into ${table} values (4)`)
      await connection.execute(commit)
      // The next writer does not wait for one that has committed.
      await database.execute(`insert into ${table} values (5)`, {}, { timeoutMillis: 1000 })
      expect(await database.fetchVal(`select count(*) from ${table}`)).toEqual(
        context.dialect === 'sqlite' ? 5 : '5',
      )
    },
  )

  // The tests below are about files, PRAGMAs and drivers of SQLite.
  if (context.dialect !== 'sqlite') return
  const many = numbers('sqlite', 5000)
  const leftBehind = (database: Database): Promise<unknown[]> =>
    database.fetchAll("select name from sqlite_temp_schema where name like 'millpond%'")
  const pathOf = (url: string): string => new DatabaseURL(url).database

  describe('close a stream', () => {
    it('at the end of its transaction', async () => {
      for (const url of [context.url, context.memoryUrl]) {
        const single = await context.open({ pool: { size: 1, maxOverflow: 0 } }, url)
        for (const readOnly of [false, true]) {
          const rows = await single.transaction(
            async (tx) => {
              const begun = tx.iterate(many, {}, { batchSize: 2 })
              await begun.next()
              return begun
            },
            { readOnly },
          )
          expect(await leftBehind(single)).toEqual([])
          await rows.return?.()
        }
      }
    })

    it('when its signal is aborted', async () => {
      for (const url of [context.url, context.memoryUrl]) {
        const single = await context.open({ pool: { size: 1, maxOverflow: 0 } }, url)
        await single.connection(async () => {
          const { signal, abort } = calledOff()
          for await (const _ of single.iterate(many, {}, { batchSize: 2, signal })) {
            abort()
            break
          }
          const late = calledOff()
          const reading = all(
            abortingFirst(single.iterate(many, {}, { batchSize: 2, signal: late.signal }), late.abort),
          )
          expect((await failure(reading)).name).toBe('QueryCanceledError')
          expect(await leftBehind(single)).toEqual([])
        })
      }
    })

    it('so that their next statements see later writes', async () => {
      await using connection = await database.acquire()
      await connection.transaction(
        async (tx) => {
          await tx.iterate(`select * from ${table}`, {}, { batchSize: 1 }).next()
        },
        { readOnly: true },
      )
      await database.execute(`insert into ${table} values (4)`)
      expect(await connection.fetchVal(`select count(*) from ${table}`)).toBe(4)
      await connection.execute(`drop table ${table}`)
    })

    it('when COMMIT is sent as SQL text, and refuse to read on', async () => {
      await using connection = await database.acquire()
      await connection.execute('begin')
      const rows = connection.iterate(many, {}, { batchSize: 1 })
      await rows.next()
      await connection.execute('commit')
      expect(await failure(rows.next())).toBeInstanceOf(TransactionClosedError)
    })

    it('that is being opened while they are closed', async () => {
      const url = await context.createDatabase()
      for (let turns = 0; turns < 40; turns += 1) {
        const closing = await context.open({}, url)
        const first = closing
          .iterate(many)
          .next()
          .catch((error: unknown) => error)
        for (let turn = 0; turn < turns; turn += 1) await new Promise((resolve) => setImmediate(resolve))
        await closing.disconnect({ graceMillis: 0 })
        await first
      }
      // disconnect() has waited for it for a limited time.
      await waitFor(() => openFiles(pathOf(url)) === 0, { what: 'the file to be closed' })
      expect(openFiles(pathOf(url))).toBe(0)
    })
  })

  it('that are closed before a statement has begun run nothing, and let the process end', async () => {
    const script = `
      const { Database } = require('./src/database')
      const { pbkdf2 } = require('node:crypto')
      const { Statement } = require(${JSON.stringify(require.resolve('sqlite3'))})
      const { all } = Statement.prototype
      // All threads are busy for longer than disconnect() waits, so that the statement's first step comes after its end.
      Statement.prototype.all = function (...given) {
        if (this.sql.includes('recursive'))
          for (let n = 0; n < 4; n += 1) pbkdf2('a', 'b', 1e6, 64, 'sha512', () => undefined)
        return all.apply(this, given)
      }
      const database = new Database(${JSON.stringify(context.url)})
      void database.connect().then(async () => {
        const stuck = database.fetchVal(${JSON.stringify(endless('sqlite'))}).catch((error) => error.code)
        await new Promise((resolve) => setTimeout(resolve, 50))
        await database.disconnect({ graceMillis: 0 })
        process.stdout.write(await stuck)
      })`
    expect((await runScript(script)).stdout).toBe('NOT_CONNECTED')
  })

  it('continue a stream when another statement is cancelled in a read-only transaction', async () => {
    let seen = 0
    await database.transaction(
      async () => {
        for await (const _ of database.iterate(`select * from ${table}`, {}, { batchSize: 1 })) {
          seen += 1
          const cancelled = await failure(database.fetchAll(endless('sqlite'), {}, { timeoutMillis: 30 }))
          expect(cancelled.name).toBe('QueryTimeoutError')
        }
        expect((await failure(database.execute(`delete from ${table}`))).message).toMatch(/readonly/)
      },
      { readOnly: true },
    )
    expect(seen).toBe(3)
  })

  it('refuse to stream in a transaction that SQLite has rolled back', async () => {
    const work = database.transaction(async () => {
      const before = database.iterate(`select * from ${table}`, {}, { batchSize: 1 })
      await before.next()
      await failure(database.execute(`insert into ${table} ${endless('sqlite')}`, {}, { timeoutMillis: 50 }))
      expect(await failure(before.next())).toBeInstanceOf(TransactionClosedError)
      const after = await failure(database.iterate(`select * from ${table}`).next())
      expect(after.message).toMatch(/was rolled back by SQLite/)
    })
    await failure(work)
  })

  it('are closed when they cannot be set up', async () => {
    const url = await context.createDatabase()
    const path = pathOf(url)
    writeFileSync(path, 'this is no database at all. '.repeat(100))
    for (let i = 0; i < 10; i += 1) await failure(new Database(url).connect())
    await sleep(20)
    expect(openFiles(path)).toBe(0)
    rmSync(path)
  })

  it.each(['PRAGMA query_only(1)', 'pragma main.query_only = 2', "PRAGMA query_only = 'yes'"])(
    'can be written by the next caller after %s',
    async (pragma) => {
      const single = await context.open({ pool: { size: 1, maxOverflow: 0 } })
      await single.execute(pragma)
      await single.execute(`insert into ${table} values (4)`)
      expect(await single.fetchVal(`select count(*) from ${table}`)).toBe(4)
    },
  )

  it('lose settings, in whatever form they were made, before the next caller', async () => {
    const single = await context.open({ pool: { size: 1, maxOverflow: 0 } })
    await single.execute('PRAGMA foreign_keys(0)')
    expect(await single.fetchVal('PRAGMA foreign_keys')).toBe(1)
    const { created } = single.stats()
    await single.fetchAll(`PRAGMA table_info(${table})`)
    await single.fetchVal('select 1')
    expect(single.stats().created).toBe(created)
  })

  it('end a transaction that a SAVEPOINT has begun', async () => {
    await database.execute('create table bare (n integer)')
    await database.connection(async (connection) => {
      for (const sql of ['savepoint a', 'insert into bare values (1)', 'savepoint b', 'release b'])
        await connection.execute(sql)
      expect(await context.admin('select n from bare')).toEqual([])
      await connection.execute('release a')
      expect(await context.admin('select n from bare')).toEqual([{ n: 1 }])
      // The next writer has the turn.
      await database.detached(() => database.execute('insert into bare values (2)'))
    })
    await database.execute('drop table bare')
  })

  it('explain a locked file in the error', async () => {
    context.mayHoldLong()
    const url = await context.createDatabase()
    const own = await context.open({}, url)
    await own.execute('create table t (id integer)')
    await using connection = await own.acquire()
    // Like another process, which is not in the queue of writers.
    const raw = connection.raw as { exec(sql: string, done: (error: Error | null) => void): void }
    await new Promise((resolve) => {
      raw.exec('begin immediate', resolve)
    })
    const second = await own.acquire()
    await second.execute('pragma busy_timeout = 10')
    const locked = await failure(second.execute('insert into t values (1)'))
    expect(locked.message).toMatch(/^The database file was locked for too long, by another process or by/)
    await second.release()
    await new Promise((resolve) => {
      raw.exec('rollback', resolve)
    })
  })

  function openFiles(path: string): number {
    // Other systems do not list the open files.
    if (process.platform !== 'linux') return 0
    const targets = readdirSync('/proc/self/fd').map((descriptor) => {
      try {
        return readlinkSync(`/proc/self/fd/${descriptor}`)
      } catch {
        return ''
      }
    })
    return targets.filter((target) => target.includes(path)).length
  }

  function calledOff(): { readonly signal: AbortSignal; abort(this: void): void } {
    const controller = new AbortController()
    return {
      signal: controller.signal,
      abort() {
        controller.abort()
      },
    }
  }

  async function* abortingFirst<T>(rows: AsyncIterable<T>, abort: () => void): AsyncGenerator<T> {
    for await (const row of rows) {
      abort()
      yield row
    }
  }

  const open = (options: DatabaseOptions = {}): Promise<Database> =>
    context.open({ pool: { size: 1, maxOverflow: 0 }, ...options })

  it('run no statement in autocommit after a conflict clause has rolled back', async () => {
    const database = await open()
    await database.execute('create table t (id integer primary key)')
    const failing = database.transaction(async (tx) => {
      await tx.execute('insert into t values (1)')
      expect(await failure(tx.execute('insert or rollback into t values (1)'))).toBeInstanceOf(
        UniqueViolationError,
      )
      await tx.execute('insert into t values (2)').catch(() => undefined)
    })
    await failure(failing)
    expect(await idsOf(database)).toEqual([])
  })

  it('are writable after a read-only transaction that was left open', async () => {
    const database = await open()
    const connection = await database.acquire()
    await connection.begin({ readOnly: true })
    await connection.release()
    expect(await database.execute('create table written (id integer)')).toMatchObject({ rowCount: 0 })
  })

  it('run a read-only transaction beside a writer', async () => {
    const database = await context.open()
    const read = (): Promise<unknown> =>
      database.transaction((tx) => tx.fetchVal('select 1'), { readOnly: true })
    await database.transaction(
      async (tx) => {
        await tx.execute('create table beside (id integer)')
        expect(await database.detached(read)).toBe(1)
        expect(await database.detached(() => database.fetchAll('pragma table_info(beside)'))).toEqual([])
      },
      { timeoutMillis: 5000 },
    )
  })
})
