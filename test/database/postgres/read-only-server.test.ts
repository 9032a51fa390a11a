/** A server that has become read-only under a pool, as a primary does that a failover has made a standby. */
import type { Database, DatabaseOptions } from '../../../src/database'
import { eachDatabase } from '../../support/each-database'
import { waitFor } from '../../support/wait-for'
import { failure } from '../support'

eachDatabase('a server that has become read-only', (context) => {
  if (context.dialect === 'sqlite') {
    it('is of PostgreSQL only', () => expect(context.dialect).toBe('sqlite'))
    return
  }

  const WRITE = 'insert into t (note) values (:note)'
  const name = (): string => new URL(context.url).pathname.slice(1)
  /** For connections that are opened from now on. */
  const setReadOnly = (isOn: boolean): Promise<unknown> =>
    context.admin(`alter database ${name()} ${isOn ? 'set default_transaction_read_only = on' : 'reset all'}`)
  const notes = async (): Promise<unknown[]> =>
    (await context.admin('select note from t order by id')).map(({ note }) => note)
  /** Opens a pool whose connections all go to the server as it was, while new ones go to its successor. */
  const openBefore = async (options: DatabaseOptions = {}): Promise<Database> => {
    await setReadOnly(true)
    const database = await context.open({ pool: { size: 3, maxOverflow: 0 }, ...options })
    await Promise.all([1, 2, 3].map(() => database.fetchVal('select pg_sleep(0.05)')))
    await waitFor(() => database.stats().idle === 3)
    await setReadOnly(false)
    return database
  }

  beforeEach(() => context.admin('create table t (id serial primary key, note text not null)'))
  afterEach(async () => {
    await setReadOnly(false)
    await context.admin('drop table t')
  })

  it.each([
    ['text', (database: Database) => database.execute(WRITE, { note: 'a' })],
    ['a builder', (database: Database) => database.execute(database.table('t').insert({ note: 'a' }))],
    ['an awaited builder', async (database: Database) => database.table('t').insert({ note: 'a' })],
    ['many rows', (database: Database) => database.executeMany(WRITE, [{ note: 'a' }])],
    ['a transaction', (database: Database) => database.transaction((tx) => tx.execute(WRITE, { note: 'a' }))],
  ])('is left for its successor by a first statement: %s', async (_, write) => {
    const database = await openBefore()
    await write(database)
    expect(await notes()).toEqual(['a'])
    await waitFor(() => database.stats().retired === 3)
    // No connection of its time is left.
    await Promise.all([1, 2, 3].map(() => database.execute(WRITE, { note: 'b' })))
    expect(await notes()).toEqual(['a', 'b', 'b', 'b'])
  })

  it.each([
    [
      'texts',
      ["begin read write; insert into t (note) values ('a'); commit", "insert into t (note) values ('b')"],
    ],
    [
      'statements of one text',
      [
        "set transaction read write; insert into t (note) values ('a'); commit; insert into t (note) values ('b')",
      ],
    ],
  ])('runs nothing twice of several %s, of which it has refused the last one', async (_, texts) => {
    const { knex } = await openBefore()
    const work = texts.reduce((schema, text) => schema.raw(text), knex.schema)
    expect(await failure(Promise.resolve(work))).toMatchObject({ name: 'ConnectionError', code: '25006' })
    expect(await notes()).toEqual(['a'])
  })

  it('fails a transaction that had begun with something else, which succeeds when it is tried again', async () => {
    const database = await openBefore()
    const work = async (): Promise<void> => {
      await database.fetchVal('select 1')
      await database.execute(WRITE, { note: 'a' })
    }
    const error = await failure(database.transaction(work))
    expect(error).toMatchObject({ name: 'ConnectionError', retryable: true, cause: { code: '25006' } })
    await database.transaction(work)
    expect(await notes()).toEqual(['a'])
  })

  it('without a successor says so, and has its connections replaced once a second at most', async () => {
    await setReadOnly(true)
    const database = await context.open({ pool: { size: 3, maxOverflow: 0 } })
    const errors = await Promise.all(
      Array.from({ length: 50 }, () => failure(database.execute(WRITE, { note: 'a' }))),
    )
    for (const error of errors)
      expect(error).toMatchObject({ name: 'ConnectionError', retryable: true, message: /takes no writes/ })
    // The first connections, those that took their place, and those of a second one.
    expect(database.stats().created).toBeLessThanOrEqual(9)
    // Reads go on.
    expect(await database.fetchVal('select count(*)::int from t')).toBe(0)
  })

  it.each([
    [
      'readOnly',
      (database: Database) =>
        database.transaction((tx) => tx.execute(WRITE, { note: 'a' }), { readOnly: true }),
    ],
    [
      'SET TRANSACTION',
      (database: Database) =>
        database.transaction(async (tx) => {
          await tx.execute('set transaction read only')
          await tx.execute(WRITE, { note: 'a' })
        }),
    ],
    [
      'START TRANSACTION',
      (database: Database) =>
        database.connection(async (connection) => {
          await connection.execute('start transaction read only')
          await connection.execute(WRITE, { note: 'a' })
        }),
    ],
    [
      'SET on a connection',
      (database: Database) =>
        database.connection(async (connection) => {
          await connection.execute('set default_transaction_read_only = on')
          await connection.execute(WRITE, { note: 'a' })
        }),
    ],
  ])('is not one whose caller has chosen that: %s', async (_, write) => {
    const database = await context.open({ pool: { size: 1, maxOverflow: 0 } })
    expect(await failure(write(database))).toMatchObject({ name: 'QueryError', cause: { code: '25006' } })
    // The choice ends with its holder.
    await database.execute(WRITE, { note: 'b' })
    expect(await notes()).toEqual(['b'])
  })
})
