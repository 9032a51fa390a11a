/**
 * executeMany() of many rows stores and reports the same as single INSERTs. On PostgreSQL it uses COPY where that
 * holds. MILLPOND_SEED=n runs the rows of a seed that failed.
 */
import fc from 'fast-check'
import {
  CheckViolationError,
  type Database,
  ForeignKeyViolationError,
  json,
  NotNullViolationError,
  QueryCanceledError,
  QueryError,
  UniqueViolationError,
} from '../../../src/database'
import { arrived, failure } from '../support'
import { eachDatabase } from '../../support/each-database'

type Row = Record<string, unknown>

const SEED = process.env['MILLPOND_SEED']
/** More rows than one statement takes, so that the last statement is shorter. */
const MANY = 1100

const text = fc.oneof(
  fc.string({ unit: 'binary' }).map((value) => value.replaceAll('\0', '')),
  fc.constantFrom('', ' ', '\\N', '\\.', '\\', '\\\\n', '\t', '\n', '\r\n', 'a\tb\nc\\d', 'NULL', '{}', '"', "it's", '💧'),
) // prettier-ignore
const date = fc.date({ min: new Date('0001-01-02'), max: new Date('9999-12-30'), noInvalidDate: true })
const orNull = (values: fc.Arbitrary<unknown>) => fc.option(values, { freq: 4 })

/** A type of a column in each database, and values that it takes. */
const COLUMNS: readonly [name: string, postgresql: string, sqlite: string, fc.Arbitrary<unknown>][] = [
  ['small', 'integer', 'integer', fc.oneof(fc.integer(), fc.integer().map(String))],
  ['large', 'bigint', 'integer', fc.oneof(fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n), fc.maxSafeInteger())],
  ['exact', 'numeric(12,3)', 'numeric', fc.integer({ min: -1e8, max: 1e8 }).map((n) => n / 10_000)],
  ['real', 'float8', 'real', fc.double({ noNaN: true })],
  ['note', 'text', 'text', text],
  ['short', 'varchar(10)', 'text', fc.string({ maxLength: 10 }).map((value) => value.replaceAll('\0', ''))],
  ['padded', 'char(5)', 'text', fc.constantFrom('', 'a', 'ab  ', 'abcde', 'abc      ')],
  ['yes', 'boolean', 'boolean', fc.boolean()],
  ['at', 'timestamptz', 'text', date],
  ['moment', 'timestamp(0)', 'text', date],
  ['day', 'date', 'text', fc.constantFrom('2024-02-29', '1999-12-31')],
  ['document', 'jsonb', 'json', fc.jsonValue().map((value) => json(JSON.parse(JSON.stringify(value).replaceAll('\\u0000', ''))))],
] // prettier-ignore
const OF_POSTGRES: typeof COLUMNS = [
  ['texts', 'text[]', '', fc.array(fc.option(text))],
  ['grid', 'integer[]', '', fc.constantFrom([], [1, 2], [[1, 2], [3, 4]])],
  ['span', 'interval', '', fc.constantFrom('1 day', '-3 hours')],
  ['stay', 'interval day', '', fc.constantFrom('1', '1 day 3 hours')],
  ['sort', 'kind', '', fc.constantFrom('a', 'b\tc')],
  ['few', 'positive', '', fc.integer({ min: 1, max: 9 })],
] // prettier-ignore

eachDatabase('executeMany of many rows', (context) => {
  let database: Database
  const isSqlite = context.dialect === 'sqlite'

  beforeEach(async () => {
    database = await context.open()
  })

  const insertInto = (table: string, columns: readonly string[]): string =>
    `insert into ${table} (${columns.join(', ')}) values (${columns.map((name) => `:${name}`).join(', ')})`

  /** A table of that name, for one test. */
  const create = async (table: string, columns: string): Promise<void> => {
    await database.execute(`drop table if exists ${table}`)
    await database.execute(`create table ${table} (${columns})`)
  }

  it('stores every value as a single INSERT does', async () => {
    const columns = isSqlite ? COLUMNS : [...COLUMNS, ...OF_POSTGRES]
    if (!isSqlite) {
      await database.execute("create type kind as enum ('a', 'b\tc')")
      await database.execute('create domain positive as integer check (value > 0)')
    }
    const types = columns.map(([name, postgresql, sqlite]) => `${name} ${isSqlite ? sqlite : postgresql}`)
    for (const table of ['one', 'many']) await create(table, `id integer primary key, ${types.join(', ')}`)
    const names = ['id', ...columns.map(([name]) => name)]
    const row = fc.record(Object.fromEntries(columns.map(([name, , , values]) => [name, orNull(values)])))
    await fc.assert(
      fc.asyncProperty(fc.array(row, { minLength: 30, maxLength: 30 }), async (made) => {
        const rows = Array.from({ length: 600 }, (_, id): Row => ({ id, ...made[id % made.length] }))
        await database.execute('delete from one')
        await database.execute('delete from many')
        await database.transaction(async (tx) => {
          for (const one of rows) await tx.execute(insertInto('one', names), one)
        })
        expect(await database.executeMany(insertInto('many', names), rows)).toEqual({ rowCount: 600 })
        const different = 'select * from one except select * from many'
        expect(await database.fetchAll(different)).toEqual([])
        expect(Number(await database.fetchVal('select count(*) from many'))).toBe(600)
      }),
      { numRuns: 12, endOnFailure: true, ...(SEED !== undefined && { seed: Number(SEED) }) },
    )
  }, 120_000)

  it('stores bytes', async () => {
    await create('bytes', `id integer, content ${isSqlite ? 'blob' : 'bytea'}, note text`)
    const rows = Array.from({ length: MANY }, (_, id) => ({
      id,
      content: Buffer.from([0, id % 256, 92]),
      note: id === 700 ? Buffer.from('as bytes') : 'n',
    }))
    await database.executeMany(insertInto('bytes', ['id', 'content', 'note']), rows)
    const stored = await database.fetchAll<(typeof rows)[0]>('select * from bytes order by id')
    expect(stored.map(({ content }) => content)).toEqual(rows.map(({ content }) => content))
    expect(String(stored[700]?.note)).toBe('as bytes')
  })

  it('counts the stored rows, quotes names, and uses the defaults of columns', async () => {
    await create('"Odd ""table"""', `"Column, one" integer, other text default 'none', "select" integer`)
    const insert = 'INSERT INTO "Odd ""table""" ("Column, one", "select") VALUES (:n, :n) ;'
    const sets = Array.from({ length: MANY }, (_, n) => ({ n }))
    expect(await database.executeMany(insert, sets)).toEqual({ rowCount: MANY })
    const row = { 'Column, one': 1099, other: 'none', select: 1099 }
    expect(
      await database.fetchOne('select * from "Odd ""table""" where "select" = :n', { n: MANY - 1 }),
    ).toEqual(row)
    await database.execute('drop table "Odd ""table"""')
  })

  it('fails as a single INSERT does, stores nothing, and shows no value', async () => {
    await create('parents', 'id integer primary key')
    await database.execute('insert into parents values (1)')
    await create(
      'strict',
      `id integer primary key, parent integer references parents (id), few integer not null check (few < 10),
       short varchar(5)`,
    )
    const insert = insertInto('strict', ['id', 'parent', 'few', 'short'])
    const good = (id: number): Row => ({ id, parent: 1, few: 1, short: 'x' })
    const cases: [Row, abstract new (...args: never[]) => Error][] = [
      [{ id: 3 }, UniqueViolationError],
      [{ parent: 2 }, ForeignKeyViolationError],
      [{ few: null }, NotNullViolationError],
      [{ few: 10 }, CheckViolationError],
    ]
    if (!isSqlite) {
      cases.push([{ few: 'secret' }, QueryError], [{ short: 'secret' }, QueryError], [{ short: 'a\0b' }, QueryError])
    } // prettier-ignore
    for (const [odd, kind] of cases) {
      const rows = Array.from({ length: MANY }, (_, id) => ({ ...good(id), ...(id === 900 && odd) }))
      const error = await failure(database.executeMany(insert, rows))
      const single = database.transaction(async (tx) => {
        await tx.execute(insert, good(3))
        await tx.execute(insert, { ...good(900), ...odd })
      })
      const { message, constructor } = await failure(single)
      expect(error).toBeInstanceOf(kind)
      expect(error).toMatchObject({ message, constructor, sql: insert })
      expect(error.message).not.toContain('secret')
      expect(await database.fetchVal('select count(*) from strict').then(Number)).toBe(0)
    }
    await database.execute('drop table strict')
    await database.execute('drop table parents')
  })

  if (isSqlite) return

  describe('does not use COPY where COPY would behave otherwise:', () => {
    const ids = Array.from({ length: MANY }, (_, id) => ({ id }))
    const insert = insertInto('odd', ['id'])
    const count = (table: string): Promise<number> =>
      database.fetchVal(`select count(*) from ${table}`).then(Number)
    afterEach(async () => {
      await context.admin('drop table if exists odd, elsewhere cascade')
    })

    it('a table with rules', async () => {
      await create('odd', 'id integer')
      await create('elsewhere', 'id integer')
      await database.execute(
        'create rule aside as on insert to odd do instead insert into elsewhere values (new.id)',
      )
      await database.executeMany(insert, ids)
      expect([await count('odd'), await count('elsewhere')]).toEqual([0, MANY])
    })

    it('a view', async () => {
      await create('elsewhere', 'id integer')
      await database.execute('create view odd as select * from elsewhere')
      await database.executeMany(insert, ids)
      expect(await count('elsewhere')).toBe(MANY)
      await database.execute('drop view odd')
    })

    it('a generated column', async () => {
      await create(
        'odd',
        'id integer generated always as identity, "Other" integer, how text default current_query()',
      )
      const refused = await failure(database.executeMany(insert, ids))
      expect(refused.message).toMatch(/428C9/)
      expect(await count('odd')).toBe(0)
      await database.executeMany('insert into odd ("Other") values (:id)', ids)
      expect(await count('odd where how like \'COPY odd ("Other")%\'')).toBe(MANY)
    })

    it('a table with row-level security', async () => {
      await create('odd', 'id integer')
      await database.execute('alter table odd enable row level security')
      await database.execute('create policy few on odd for insert with check (id < 1000)')
      await database.execute(
        "do $$ begin if not exists (select from pg_roles where rolname = 'guest') then create role guest; end if; end $$",
      )
      await database.execute('grant insert on odd to guest')
      await database.connection(async (connection) => {
        await connection.execute('set role guest')
        expect(await connection.executeMany(insert, ids.slice(0, 1000))).toEqual({ rowCount: 1000 })
        expect((await failure(connection.executeMany(insert, ids))).message).toMatch(/row-level security/)
      })
      expect(await count('odd')).toBe(1000)
    })
  })

  it('runs triggers, and counts the rows that they let through', async () => {
    await create('guarded', 'id integer, doubled integer generated always as (id * 2) stored, note text')
    await database.execute(`create or replace function guard() returns trigger language plpgsql as $$
      begin if new.id % 2 = 1 then return null; end if; new.note := current_query(); return new; end $$`)
    await database.execute(
      'create trigger guard before insert on guarded for each row execute function guard()',
    )
    const sets = Array.from({ length: MANY }, (_, id) => ({ id }))
    expect(await database.executeMany(insertInto('guarded', ['id']), sets)).toEqual({ rowCount: MANY / 2 })
    const last = { id: 1098, doubled: 2196, note: 'COPY guarded (id) FROM STDIN' }
    expect(await database.fetchOne('select * from guarded order by id desc')).toEqual(last)
  })

  it('stores each row in its partition, and prefers a temporary table of the same name', async () => {
    await database.execute('create table parts (id integer) partition by list ((id % 2))')
    await database.execute('create table parts_0 partition of parts for values in (0)')
    await database.execute('create table parts_1 partition of parts for values in (1)')
    const sets = Array.from({ length: MANY }, (_, id) => ({ id }))
    await database.executeMany(insertInto('public.parts', ['id']), sets)
    expect(await database.fetchVal('select count(*) from parts_1').then(Number)).toBe(MANY / 2)
    await database.connection(async (connection) => {
      await connection.execute('create temporary table parts (id integer)')
      await connection.executeMany(insertInto('parts', ['id']), sets)
      expect(await connection.fetchVal('select count(*) from pg_temp.parts').then(Number)).toBe(MANY)
    })
    expect(await database.fetchVal('select count(*) from parts').then(Number)).toBe(MANY)
  })

  it('is cancelled on the server, and its connection can be used again', async () => {
    await create('slow', 'id integer')
    await database.execute(`create or replace function wait() returns trigger language plpgsql as $$
      begin if new.id = 800 then perform pg_sleep(600); end if; return new; end $$`)
    await database.execute('create trigger wait before insert on slow for each row execute function wait()')
    const controller = new AbortController()
    const sets = Array.from({ length: MANY }, (_, id) => ({ id }))
    const stopped = failure(
      database.executeMany(insertInto('slow', ['id']), sets, { signal: controller.signal }),
    )
    await arrived(context, database)
    controller.abort()
    expect(await stopped).toBeInstanceOf(QueryCanceledError)
    expect(await database.fetchVal('select count(*) from slow').then(Number)).toBe(0)
  })

  it('is rolled back with the savepoint that it runs in', async () => {
    await create('kept', 'id integer primary key')
    const sets = Array.from({ length: MANY }, (_, id) => ({ id }))
    await database.transaction(async (tx) => {
      await tx.execute('insert into kept values (700)')
      const again = database.executeMany(insertInto('kept', ['id']), sets)
      expect(await failure(again)).toBeInstanceOf(UniqueViolationError)
      await tx.execute('delete from kept')
      await tx.executeMany(insertInto('kept', ['id']), sets)
    })
    expect(await database.fetchVal('select count(*) from kept').then(Number)).toBe(MANY)
  })

  describe('COPY as SQL text', () => {
    beforeEach(async () => {
      await database.execute('create table t (id integer primary key, name text)')
    })
    afterEach(async () => {
      await context.admin('drop table t')
    })

    it('is refused when it needs a stream', async () => {
      for (const copy of ['copy t from stdin', 'COPY t (id)\nTO  STDOUT', 'copy (select 1) to stdout']) {
        const error = await failure(database.execute(copy))
        expect(error).toBeInstanceOf(QueryError)
        expect(error.message).toMatch(/needs a stream.*executeMany/)
      }
      expect(await database.fetchVal('select 1')).toBe(1)
    })
  })
})
