/** A server or network that stops answering, or closes the connection, during a statement, a cancel, ROLLBACK or BEGIN. */
import {
  ConnectionError,
  type Database,
  type DatabaseOptions,
  QueryError,
  QueryTimeoutError,
} from '../../../src/database'
import { eachDatabase } from '../../support/each-database'
import { startProxy, type TcpProxy } from '../../support/tcp-proxy'
import { arrived, failure, idsOf, undone } from '../support'

interface RawSqlite {
  exec(sql: string, done: (error: Error | null) => void): void
}

/** A query message of the simple protocol. */
function queryMessage(sql: string): Buffer {
  const length = Buffer.alloc(4)
  length.writeInt32BE(sql.length + 5)
  return Buffer.concat([Buffer.from('Q'), length, Buffer.from(`${sql}\0`)])
}

/** What ends every answer outside of a transaction. */
const READY = Buffer.from('Z\0\0\0\x05I', 'latin1')

eachDatabase('a server that stops answering', (context) => {
  if (context.dialect === 'sqlite') {
    it('does not exist for SQLite, where a connection is closed when ROLLBACK fails', async () => {
      const database = await context.open({ pool: { size: 1, maxOverflow: 0 } })
      const work = database.transaction(async () => {
        await database.connection(
          ({ raw }) => new Promise((resolve) => (raw as RawSqlite).exec('COMMIT', resolve)),
        )
        throw new RangeError('mine')
      })
      const error = await failure(work)
      expect(error).toBeInstanceOf(RangeError)
      expect(error).toMatchObject({ cleanupErrors: [expect.any(QueryError) as unknown] })
      expect(database.stats()).toMatchObject({ used: 0, retired: 1 })
      expect(await database.fetchVal('select 1')).toBe(1)
    })
    return
  }

  let proxy: TcpProxy
  beforeEach(async () => {
    proxy = await startProxy(context.url)
    await context.admin('create table t (id integer)')
  })
  afterEach(async () => {
    await proxy.close()
    await context.admin('drop table t')
  })
  const open = (options: DatabaseOptions = {}): Promise<Database> =>
    context.open({ pool: { size: 1, maxOverflow: 0, validateAfterIdleMillis: false }, ...options }, proxy.url)

  it('after the error of a statement does not change that error, and its connection is closed', async () => {
    const database = await open()
    const pid = await database.fetchVal('select pg_backend_pid()')
    const sprung = proxy.trap(READY, {
      direction: 'toClient',
      passing: 0,
      act: (link) => {
        link.hold('toClient')
      },
    })
    const error = await failure(database.fetchVal('select 1 / 0'))
    await sprung
    expect(error).toBeInstanceOf(QueryError)
    expect(error.message).toMatch(/division by zero/)
    expect(await database.fetchVal('select pg_backend_pid()')).not.toBe(pid)
    expect(database.stats()).toMatchObject({ used: 0, retired: 1 })
  })

  it('when a cancel request is sent has its connection closed, and the call ends in time', async () => {
    const database = await open()
    const slept = failure(database.fetchVal('select pg_sleep(2)', {}, { timeoutMillis: 300 }))
    await arrived(context, database)
    // A cancel request needs a connection of its own, so that only the server ends the statement.
    proxy.refuse()
    expect(await slept).toBeInstanceOf(QueryTimeoutError)
    await proxy.accept()
    expect(await database.fetchVal('select 1')).toBe(1)
    expect(database.stats()).toMatchObject({ used: 0, retired: 1 })
  })

  it.each(['cut', 'hold'] as const)(
    'at ROLLBACK (%s) does not change the error of the work, and no row stays',
    async (fault) => {
      const database = await open({ statementTimeoutMillis: 5000 })
      const sprung = proxy.trap(queryMessage('ROLLBACK'), {
        passing: 0,
        act: (link) => {
          if (fault === 'cut') link.cut('both')
          else link.hold('toServer')
        },
      })
      const error = await failure(
        database.transaction(
          async (tx) => {
            await tx.execute('insert into t values (1)')
            throw new RangeError('mine')
          },
          { timeoutMillis: 500 },
        ),
      )
      await sprung
      expect(error).toBeInstanceOf(RangeError)
      expect(error).toMatchObject({ cleanupErrors: [expect.any(ConnectionError) as unknown] })
      expect(await idsOf(database)).toEqual([])
      expect(database.stats()).toMatchObject({ used: 0, retired: 1 })
    },
  )

  it('at ROLLBACK TO SAVEPOINT rolls back the whole transaction', async () => {
    const database = await open()
    const sprung = proxy.trap(queryMessage('ROLLBACK TO SAVEPOINT millpond_2'), { passing: 0 })
    const work = database.transaction(async (tx) => {
      await tx.execute('insert into t values (1)')
      await undone(tx.transaction(() => Promise.reject(new Error('out'))))
    })
    const [error] = await Promise.all([failure(work), sprung])
    expect(error).toBeInstanceOf(ConnectionError)
    expect(error.message).toMatch(/rolled back/)
    expect(await idsOf(database)).toEqual([])
  })

  it('at BEGIN runs none of the work of a transaction whose time limit is over', async () => {
    const database = await open()
    const sprung = proxy.trap(queryMessage('BEGIN ISOLATION LEVEL SERIALIZABLE'), {
      passing: 0,
      act: (link) => {
        link.hold('toServer')
      },
    })
    let hasRun = false
    const work = database.transaction(
      async () => {
        hasRun = true
      },
      { timeoutMillis: 300, isolation: 'serializable' },
    )
    const [error] = await Promise.all([failure(work), sprung])
    expect(error).toBeInstanceOf(QueryTimeoutError)
    expect(hasRun).toBe(false)
    expect(await database.fetchVal('select 1')).toBe(1)
    expect(database.stats()).toMatchObject({ used: 0, retired: 1 })
  })
})
