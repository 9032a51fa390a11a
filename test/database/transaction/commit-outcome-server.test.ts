/** The server dies, refuses or stops answering at COMMIT: the reported outcome is that of the table. */
import type { Socket } from 'node:net'
import type { Client as Driver } from 'pg'
import {
  CommitUnknownError,
  ConnectionError,
  type Database,
  DatabaseError,
  type DatabaseOptions,
} from '../../../src/database'
import { failure, idsOf } from '../support'
import { ANSWER_BYTES, COMMIT, commitInto, type Report } from '../../support/commits'
import { eachDatabase } from '../../support/each-database'
import { startProxy, type TcpProxy, type TrapOptions } from '../../support/tcp-proxy'
import { waitFor } from '../../support/wait-for'

/** What the types of pg leave out. */
type Client = Driver & { readonly connection: { readonly stream: Socket } }

eachDatabase('the reported outcome of a COMMIT', (context) => {
  if (context.dialect === 'sqlite') {
    it('is an error when SQLite refuses to commit, and no row stays', async () => {
      const database = await context.open()
      await database.execute('create table t (id integer primary key)')
      await database.execute(
        'create table child (id integer primary key, t integer references t (id) deferrable initially deferred)',
      )
      const refused = database.transaction(async () => {
        await database.execute('insert into t values (1)')
        await database.execute('insert into child values (1, 99)')
      })
      await expect(refused).rejects.toThrow(DatabaseError)
      expect([await idsOf(database), await idsOf(database, 'child')]).toEqual([[], []])
    })
    return
  }

  beforeEach(async () => {
    await context.admin('create table t (id integer primary key)')
  })
  afterEach(async () => {
    await context.admin('drop table t')
  })
  let proxy: TcpProxy
  beforeEach(async () => {
    proxy = await startProxy(context.url)
  })
  afterEach(() => proxy.close())

  const open = (options: DatabaseOptions = {}): Promise<Database> =>
    context.open(
      { ...options, pool: { size: 2, maxOverflow: 0, acquireTimeoutMillis: 2000, ...options.pool } },
      proxy.url,
    )

  /** Each on a Database of its own, so that none meets the connection that another has lost. */
  const run = async (trap: TrapOptions, options?: DatabaseOptions): Promise<Report> =>
    commitInto(context, await open(options), proxy, trap)
  /** Ends the backend that commits, and waits for its end. */
  const kill = async (): Promise<void> => {
    const others = `select pg_terminate_backend(pid, 2000) from pg_stat_activity
      where datname = current_database() and pid <> pg_backend_pid() and xact_start is not null`
    await context.admin(others)
  }
  const killLast = async (): Promise<void> => {
    const others = `select pg_terminate_backend(pid, 2000) from pg_stat_activity
      where datname = current_database() and pid <> pg_backend_pid() and query = 'COMMIT'`
    await context.admin(others)
  }

  describe('when the backend is killed', () => {
    it('before the COMMIT message has passed is a rollback', async () => {
      for (const passing of [0, 1, 5, 11]) {
        expect(await run({ passing, act: kill })).toBe('rolled back')
      }
    })

    it('before the COMMIT message is true when the server cannot be asked', async () => {
      for (const passing of [0, 5]) {
        const act = async (): Promise<void> => {
          await kill()
          proxy.refuse()
        }
        expect(await run({ passing, act }, { pool: { acquireTimeoutMillis: 60 } })).not.toBe('committed')
        await proxy.accept()
      }
    })

    it('after the answer is a commit', async () => {
      for (let answered = 0; answered <= ANSWER_BYTES; answered += 3) {
        expect(await run({ answered, act: killLast })).toBe('committed')
      }
    })

    it('is found out when the connection is cut as well', async () => {
      const act: TrapOptions['act'] = async (link) => {
        await killLast()
        await kill()
        link.cut('both')
      }
      for (const passing of [0, 7]) expect(await run({ passing, act })).toBe('rolled back')
      for (const answered of [0, 6, 12, 17]) expect(await run({ answered, act })).toBe('committed')
    })
  })

  describe('when the network', () => {
    it('drops the answer is found out when the statement timeout is over', async () => {
      context.mayHoldLong()
      const act: TrapOptions['act'] = (link) => link.hold('toClient')
      expect(await run({ answered: 0, act }, { statementTimeoutMillis: 150 })).toBe('committed')
    })

    it('closes one half of the connection is known', async () => {
      for (const direction of ['toServer', 'toClient'] as const) {
        for (const point of [{ passing: 0 }, { passing: 5 }, { answered: 0 }, { answered: 3 }]) {
          const act: TrapOptions['act'] = (link) => {
            link.halfClose(direction)
          }
          expect(await run({ ...point, act })).not.toBe('unknown')
        }
      }
    })

    it('is slow is a commit', async () => {
      const act = (): void => {
        proxy.delay(60)
      }
      expect(await run({ passing: 0, act })).toBe('committed')
      proxy.delay(0)
    })
  })

  it('is an error when PostgreSQL refuses to commit, whether its answer arrives or not', async () => {
    await context.admin(
      'create table child (id integer, t integer references t (id) deferrable initially deferred)',
    )
    const database = await open()
    const refused = (): Promise<unknown> =>
      database.transaction(async () => {
        await database.execute('insert into t values (1)')
        await database.execute('insert into child values (1, 99)')
      })
    const spoilt = (): Promise<unknown> =>
      database.transaction(async () => {
        await database.execute('insert into t values (1)')
        await database.execute('insert into t values (1)').catch(() => undefined)
      })
    for (const answered of [undefined, 0, 1, 4, 19]) {
      for (const work of [refused, spoilt]) {
        const sprung = answered === undefined ? undefined : proxy.trap(COMMIT, { answered })
        await expect(work()).rejects.toThrow(DatabaseError)
        await sprung
        expect(await context.admin('select id from t')).toEqual([])
      }
    }
    await context.admin('drop table child')
  })

  it('of a savepoint is never unknown', async () => {
    const database = await open()
    const release = Buffer.from('RELEASE SAVEPOINT', 'latin1')
    for (const point of [{ passing: 0 }, { passing: 9 }, { answered: 0 }]) {
      const sprung = proxy.trap(release, point)
      const lost = database.transaction((tx) =>
        tx.transaction(() => database.execute('insert into t values (1)')),
      )
      await expect(lost).rejects.toThrow(ConnectionError)
      await expect(lost).rejects.not.toThrow(CommitUnknownError)
      await sprung
      expect(await idsOf(database)).toEqual([])
    }
  })

  it('is a ConnectionError, not a CommitUnknownError, when the connection was lost before COMMIT', async () => {
    const database = await context.open({ pool: { size: 1, maxOverflow: 0, acquireTimeoutMillis: 1000 } })
    for (const swallows of [false, true]) {
      const lost = database.transaction(async (tx) => {
        await tx.execute('insert into t values (1)')
        const raw = await database.connection(async (connection) => connection.raw as Client)
        const pid = await tx.fetchVal<number>('select pg_backend_pid()')
        await context.admin(`select pg_terminate_backend(${pid})`)
        if (swallows) await tx.fetchVal('select 1').catch(() => undefined)
        await waitFor(() => raw.connection.stream.closed)
      })
      const error = await failure(lost)
      expect(error).not.toBeInstanceOf(CommitUnknownError)
      expect(error).toBeInstanceOf(ConnectionError)
    }
    expect(await idsOf(database)).toEqual([])
  })
})
