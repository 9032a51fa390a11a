/** executeMany() reads its next values while the database stores the previous ones, which changes nothing else. */
import { type Database, QueryError, QueryTimeoutError, UniqueViolationError } from '../../../src/database'
import { eachDatabase } from '../../support/each-database'
import { failure } from '../support'

const INSERT = 'insert into d (id) values (:id)'
/** Rows of one statement. */
const CHUNK = 500

eachDatabase('values that executeMany() reads ahead', (context) => {
  let database: Database

  beforeEach(async () => {
    database = await context.open({ pool: { size: 1, maxOverflow: 0 } })
    await database.execute('create table d (id integer primary key)')
  })
  afterEach(async () => {
    await context.admin('drop table d')
  })

  const counted = (): Promise<number> => database.fetchVal('select count(*) from d').then(Number)

  it('are stored after the queries that their source made before them', async () => {
    const seen: number[] = []
    const values = (async function* () {
      for (let id = 0; id < 4 * CHUNK; id += 1) {
        if (id % CHUNK === 100) seen.push(await counted())
        yield { id }
      }
    })()
    expect(await database.executeMany(INSERT, values)).toEqual({ rowCount: 4 * CHUNK })
    expect(seen).toEqual([0, CHUNK, 2 * CHUNK, 3 * CHUNK])
    expect(await counted()).toBe(4 * CHUNK)
  })

  it('are not awaited when the previous ones were refused', async () => {
    const values = (async function* () {
      for (let id = 0; id <= CHUNK; id += 1) yield { id: id % (CHUNK - 1) }
      await new Promise(() => {})
    })()
    expect(await failure(database.executeMany(INSERT, values))).toBeInstanceOf(UniqueViolationError)
    expect(await counted()).toBe(0)
  })

  it('are not awaited when they are promises in a list', async () => {
    // More than its type says, and looked at all the same.
    const never = new Promise(() => {}) as unknown as { id: number }
    const values = Array.from({ length: CHUNK + 1 }, (_, id) => ({ id: id % (CHUNK - 1) }))
    const refused = database.executeMany(INSERT, [...values, never])
    expect(await failure(refused)).toBeInstanceOf(UniqueViolationError)
    const late = database.executeMany(INSERT, [{ id: 1 }, never], { timeoutMillis: 50 })
    expect(await failure(late)).toBeInstanceOf(QueryTimeoutError)
    expect(await counted()).toBe(0)
  })

  it('are read from a source that is closed once, whether it or the database fails', async () => {
    let closed = 0
    const valuesUpTo = async function* (most: number, idOf: (n: number) => number) {
      try {
        for (let n = 0; n < most; n += 1) yield { id: idOf(n) }
        throw new Error('out of values')
      } finally {
        closed += 1
      }
    }
    const refused = valuesUpTo(100_000, (n) => n % (CHUNK - 1))
    expect(await failure(database.executeMany(INSERT, refused))).toBeInstanceOf(UniqueViolationError)
    const ended = valuesUpTo(CHUNK + 1, (n) => n)
    expect(await failure(database.executeMany(INSERT, ended))).toMatchObject({ message: 'out of values' })
    expect(closed).toBe(2)
    expect(await counted()).toBe(0)
    expect(database.stats().used).toBe(0)
  })

  if (context.dialect === 'sqlite') return

  it('are read while the database stores the previous ones', async () => {
    const other = await context.open({ pool: { size: 1, maxOverflow: 0 } })
    await using holder = await other.acquire()
    await holder.execute('select pg_advisory_lock(1)')
    await database.execute(`create or replace function wait() returns trigger language plpgsql as $$
      begin if new.id = 0 then perform pg_advisory_xact_lock(1); end if; return new; end $$`)
    await database.execute('create trigger wait before insert on d for each row execute function wait()')
    const values = (async function* () {
      for (let id = 0; id < 3 * CHUNK; id += 1) {
        if (id === 2 * CHUNK - 1) await holder.execute('select pg_advisory_unlock(1)')
        yield { id }
      }
    })()
    expect(await database.executeMany(INSERT, values, { timeoutMillis: 20_000 })).toEqual({
      rowCount: 3 * CHUNK,
    })
  })

  it('are refused when the table has changed meanwhile, and later calls work', async () => {
    const values = (async function* () {
      for (let id = 0; id < 4 * CHUNK; id += 1) {
        if (id === 3 * CHUNK - 1) await database.execute('alter table d rename column id to key')
        yield { id }
      }
    })()
    const error = await failure(database.executeMany(INSERT, values))
    expect(error).toBeInstanceOf(QueryError)
    expect(error.message).toMatch(/column "id"/)
    expect(await counted()).toBe(0)
    expect(await database.fetchVal('select 1')).toBe(1)
    await database.executeMany(INSERT, [{ id: 1 }, { id: 2 }])
    expect(await counted()).toBe(2)
  })
})
