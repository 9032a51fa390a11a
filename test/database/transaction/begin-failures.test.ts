/** A BEGIN that fails or is sent again: no statement runs outside of the transaction, and no committed work is lost. */
import type { Client } from 'pg'
import type { Database } from '../../../src/database'
import { eachDatabase } from '../../support/each-database'
import { startProxy } from '../../support/tcp-proxy'
import { failure } from '../support'

eachDatabase('a transaction whose BEGIN fails', (context) => {
  let database: Database

  beforeEach(async () => {
    database = await context.open({ pool: { size: 1, maxOverflow: 0 } })
    await database.execute('create table t (id integer primary key)')
  })
  afterEach(async () => {
    await context.admin('drop table t')
  })

  const ids = async (): Promise<unknown[]> => {
    const observer = await context.open()
    return (await observer.fetchAll('select id from t order by id')).map(({ id }) => id)
  }

  // SQLite runs each BEGIN by itself.
  if (context.dialect === 'sqlite') {
    it('runs nothing, and the outer transaction cannot be committed any more', async () => {
      await database.connection(async (connection) => {
        await connection.execute('BEGIN')
        await connection.execute('insert into t values (1)')
        await failure(connection.transaction((tx) => tx.execute('insert into t values (2)')))
        await failure(connection.execute('COMMIT'))
      })
      expect(await ids()).toEqual([])
    })
    return
  }

  it('inside a transaction that was begun as SQL text does not commit that one', async () => {
    await database.connection(async (connection) => {
      await connection.fetchAll('select * from t')
      await context.admin('alter table t add column name text')
      await connection.execute('BEGIN')
      await connection.execute('insert into t values (1)')
      const inner = connection.transaction(async (tx) => {
        await tx.fetchAll('select * from t')
        await tx.execute('insert into t values (2)')
      })
      await failure(inner)
      await connection.execute('ROLLBACK').catch(() => undefined)
    })
    expect(await ids()).toEqual([])
    expect(database.stats()).toMatchObject({ used: 0 })
  })

  it('does not let queries sent by connection.raw run outside of it', async () => {
    await database.execute(
      `create function forget() returns int language plpgsql as $$ begin execute 'DEALLOCATE ALL'; return 1; end $$`,
    )
    await database.transaction((tx) => tx.fetchAll('select * from t'))
    await database.fetchAll('select forget()')
    const work = database.connection((connection) =>
      connection.transaction(async (tx) => {
        const first = tx.fetchAll('select * from t')
        // The statement is sent by now, and not answered.
        await Promise.resolve()
        const own = (connection.raw as Client).query('insert into t values (42)')
        await Promise.allSettled([first, own])
        throw new Error('no')
      }),
    )
    await failure(work)
    await context.admin('drop function forget()')
    expect(await ids()).toEqual([])
    expect(await database.fetchVal('select 1')).toBe(1)
  })

  for (const when of ['before', 'while'] as const) {
    it(`does not let queries of connection.raw run outside of it, when raw is read ${when} BEGIN is sent again`, async () => {
      const proxy = await startProxy(context.url)
      const proxied = await context.open({ pool: { size: 1, maxOverflow: 0 } }, proxy.url)
      await proxied.transaction((tx) => tx.fetchAll('select * from t'))
      await context.admin('alter table t add column name text')
      const sent: Promise<unknown>[] = []
      const work = proxied.connection((connection) =>
        connection.transaction(async (tx) => {
          const first = tx.fetchAll('select * from t')
          // The statement is sent by now, and not answered.
          await Promise.resolve()
          if (when === 'before') void connection.raw
          const act = (): void => {
            sent.push((connection.raw as Client).query('insert into t values (42)'))
          }
          void proxy.trap(Buffer.from('ROLLBACK'), { passing: 0, act })
          await Promise.allSettled([first])
          proxy.disarm()
          await Promise.allSettled(sent)
          throw new Error('no')
        }),
      )
      expect(await failure(work)).toMatchObject({ message: 'no' })
      expect(sent).toHaveLength(when === 'while' ? 1 : 0)
      expect(await ids()).toEqual([])
      await proxied.disconnect()
      await proxy.close()
    })
  }
})
