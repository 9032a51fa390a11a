/** Bugs that were found from outside and that only one of the databases had. */
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { ConnectionError, Database, type DatabaseOptions, UniqueViolationError } from '../../src/database'
import { eachDatabase } from '../support/each-database'
import { freePort } from '../support/free-port'
import { endless, failure, idsOf } from './support'

eachDatabase('found bugs of one database', (context) => {
  const isSqlite = context.dialect === 'sqlite'
  const open = (options: DatabaseOptions = {}): Promise<Database> =>
    context.open({ pool: { size: 1, maxOverflow: 0 }, ...options })

  if (isSqlite) {
    it('4: a conflict clause that rolls back does not leave the transaction in autocommit', async () => {
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

    it('7: a database in memory can be streamed', async () => {
      const database = await context.open({}, context.memoryUrl)
      await database.execute('create table t (id integer)')
      await database.execute('insert into t values (1), (2), (3), (4), (5)')
      const seen: number[] = []
      for await (const { id } of database.iterate<{ id: number }>('select id from t', {}, { batchSize: 2 })) {
        seen.push(id + ((await database.fetchVal<number>('select 0')) ?? 0))
      }
      expect(seen).toEqual([1, 2, 3, 4, 5])
    })

    it('8: a database in memory keeps its tables when a write in a savepoint is interrupted', async () => {
      const database = await context.open({}, context.memoryUrl)
      await database.execute('create table t (id integer)')
      const slow = `insert into t ${endless('sqlite')}`
      const interrupted = database.transaction(() =>
        database.transaction((tx) => tx.execute(slow, {}, { timeoutMillis: 50 })),
      )
      expect((await failure(interrupted)).name).toBe('QueryTimeoutError')
      expect(await idsOf(database)).toEqual([])
    })

    it('9: a read-only transaction that was left open leaves nothing read-only', async () => {
      const database = await open()
      const connection = await database.acquire()
      await connection.begin({ readOnly: true })
      await connection.release()
      expect(await database.execute('create table written (id integer)')).toMatchObject({ rowCount: 0 })
    })

    it('11: a read-only transaction runs beside a writer', async () => {
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
  } else {
    it('13: a value with a quote in it is not printed', async () => {
      const database = await open()
      const error = await failure(database.fetchVal('select cast(:x as integer)', { x: 'x" secret-4711' }))
      expect(error.message).not.toContain('secret-4711')
    })

    it('19: connect() ends in time, though the server never answers', async () => {
      const sockets: Socket[] = []
      const server = createServer((socket) => sockets.push(socket)).listen(await freePort(), '127.0.0.1')
      await once(server, 'listening')
      const { port } = server.address() as { port: number }
      const silent = new Database(`postgresql://127.0.0.1:${port}/d`, { connectTimeoutMillis: 200 })
      const started = performance.now()
      const error = await failure(silent.connect())
      const tookMillis = performance.now() - started
      for (const socket of sockets) socket.destroy()
      server.close()
      expect(error).toBeInstanceOf(ConnectionError)
      expect(tookMillis).toBeLessThan(1500)
    })

    it('45: leaving a stream whose connection was just lost fails with an error of ours, if at all', async () => {
      const database = await open()
      const query = 'select pg_backend_pid() as pid from generate_series(1, 1000)'
      const leave = async (): Promise<void> => {
        for await (const { pid } of database.iterate<{ pid: number }>(query)) {
          await context.admin(`select pg_terminate_backend(${pid})`)
          break
        }
      }
      const error = await leave().catch((thrown: unknown) => thrown)
      expect(error === undefined || error instanceof ConnectionError).toBe(true)
      expect(await database.fetchVal('select 1')).toBe(1)
    })

    it('24: a stream that was left open on a held connection is closed when that comes back', async () => {
      const database = await open()
      await database.connection(async (connection) => {
        await connection.iterate('select * from pg_class', {}, { batchSize: 1 }).next()
      })
      expect(await database.fetchAll('select name from pg_cursors where is_holdable')).toEqual([])
    })
  }
})
