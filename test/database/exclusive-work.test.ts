/** exclusively(): what its work may do, and how a caller that waits for its turn is told that it waits in vain. */
import { setTimeout as pause } from 'node:timers/promises'
import { ConnectionError, QueryTimeoutError } from '../../src/database'
import { eachDatabase } from '../support/each-database'
import { startProxy } from '../support/tcp-proxy'
import { waitFor } from '../support/wait-for'
import { failure, gate } from './support'

eachDatabase('exclusively()', (context) => {
  it('gives up waiting after timeoutMillis', async () => {
    const database = await context.open()
    await database.exclusively('work', async () => {
      const waiting = database.exclusively('work', async () => 1, { timeoutMillis: 50 })
      expect(await failure(waiting)).toBeInstanceOf(QueryTimeoutError)
    })
  })

  if (context.dialect === 'sqlite') return

  const name = (): string => new URL(context.url).pathname.slice(1)
  /** Connections that have asked for the lock in vain. */
  const waiters = (): Promise<Record<string, unknown>[]> =>
    context.admin(`select pid from pg_stat_activity where datname = '${name()}' and query = 'ROLLBACK'`)

  afterEach(() => context.admin(`alter database ${name()} reset all`))

  it.each(['read committed', 'repeatable read', 'serializable'])(
    'lets its work create an index concurrently where transactions are %s by default',
    async (isolation) => {
      await context.admin(`alter database ${name()} set default_transaction_isolation = '${isolation}'`)
      const database = await context.open({ statementTimeoutMillis: 2000 })
      await database.execute('create table indexed (a integer)')
      const index = (): Promise<unknown> => database.execute('create index concurrently on indexed (a)')
      expect(await database.exclusively('work', index)).toMatchObject({ rowCount: 0 })
      await database.execute('drop table indexed')
    },
  )

  it.each(['idle_in_transaction_session_timeout', 'transaction_timeout'])(
    'keeps its turn for longer than the %s of the server',
    async (timeout) => {
      // Version 17 of PostgreSQL brought one of them.
      const [known] = await context.admin(`select from pg_settings where name = '${timeout}'`)
      if (known !== undefined) await context.admin(`alter database ${name()} set ${timeout} = 50`)
      const database = await context.open()
      expect(await database.exclusively('work', () => pause(150, 'done'))).toBe('done')
    },
  )

  it('gives up a server that does not answer after timeoutMillis', async () => {
    const proxy = await startProxy(context.url)
    const database = await context.open({}, proxy.url)
    const done = gate()
    const holder = await context.open()
    const held = holder.exclusively('work', () => done.opened)
    const waiting = failure(database.exclusively('work', async () => 1, { timeoutMillis: 1000 }))
    await waitFor(async () => (await waiters()).length > 0)
    proxy.blackhole()
    expect(await waiting).toBeInstanceOf(QueryTimeoutError)
    done.open()
    await held
    await proxy.close()
  })

  it('rejects a caller whose connection is lost while it waits with ConnectionError', async () => {
    const database = await context.open()
    await database.exclusively('work', async () => {
      const waiting = failure(database.exclusively('work', async () => 1))
      await waitFor(async () => (await waiters()).length > 0)
      for (const { pid } of await waiters())
        await context.admin(`select pg_terminate_backend(${String(pid)})`)
      expect(await waiting).toBeInstanceOf(ConnectionError)
    })
  })
})
