/** Prepared statements whose meaning changes while they are cached: types of columns, settings, schemas, the clock. */
import type { Client } from 'pg'
import type { Database } from '../../../src/database'
import { eachDatabase } from '../../support/each-database'
import { failure, running, undone } from '../support'

const ONE = { pool: { size: 1, maxOverflow: 0 } }

eachDatabase('stale prepared statements', (context) => {
  let database: Database
  beforeEach(async () => {
    database = await context.open(ONE)
  })

  if (context.dialect === 'sqlite') {
    it('are compiled again by SQLite after a column has changed its type', async () => {
      const other = await context.open()
      await database.execute('create table typed (n integer)')
      const insert = async (n: unknown): Promise<unknown> => {
        await database.execute('insert into typed values (:n)', { n })
        return database.fetchVal('select typeof(n) from typed')
      }
      expect(await insert(5)).toBe('integer')
      await other.execute('drop table typed')
      await other.execute('create table typed (n text)')
      expect(await insert(5)).toBe('text')
      await other.execute('drop table typed')
    })
    return
  }

  describe('after a column has changed its type', () => {
    beforeEach(async () => {
      await context.admin('create table typed (id int, n int)')
      await context.admin('insert into typed values (1, 2)')
    })
    afterEach(async () => {
      await context.admin('drop table typed')
    })
    const read = (id: unknown): Promise<unknown> =>
      database.fetchVal('select n from typed where id = :id', { id })

    it('accept values of the new type', async () => {
      expect(await read(1)).toBe(2)
      await context.admin('alter table typed alter id type bigint')
      expect(await read(3_000_000_000)).toBeNull()
      await context.admin('alter table typed alter id type text')
      expect(await read('one')).toBeNull()
      expect(await read('1')).toBe(2)
    })

    it('insert a value of the new type once', async () => {
      const write = (n: unknown): Promise<{ readonly rowCount: number }> =>
        database.execute('insert into typed (n) values (:n)', { n })
      await write(3)
      await context.admin('alter table typed alter n type text')
      expect(await write('three')).toMatchObject({ rowCount: 1 })
      expect(await database.fetchVal("select count(*)::int from typed where n = 'three'")).toBe(1)
    })

    it('accept values of the new type in a transaction that has just begun', async () => {
      await read(1)
      await context.admin('alter table typed alter id type bigint')
      expect(await database.transaction(() => read(3_000_000_000))).toBeNull()
    })

    it('fail later in a transaction, and work in the next one', async () => {
      const transaction = (id: unknown): Promise<unknown> =>
        database.transaction(async (tx) => {
          await tx.fetchVal('select 1')
          return read(id)
        })
      await read(1)
      await context.admin('alter table typed alter id type bigint')
      await expect(transaction(3_000_000_000)).rejects.toThrow(/out of range/)
      expect(await transaction(3_000_000_000)).toBeNull()
    })

    it('are not retried when they were cancelled while they waited for the ALTER TABLE', async () => {
      await read(1)
      const other = await context.open(ONE)
      await using altering = await other.begin()
      await altering.execute('alter table typed alter id type bigint')
      const reading = database.fetchVal(
        'select n from typed where id = :id',
        { id: 1 },
        { timeoutMillis: 100 },
      )
      await running(database, 'typed')
      await expect(reading).rejects.toThrow(/did not end within/)
    })
  })

  it.each(['now', ' Today', 'tomorrow 12:00', 'YESTERDAY'])(
    'with the time literal %p are not cached',
    async (word) => {
      const kept = 'select count(*)::int from pg_prepared_statements where statement like :text'
      await database.fetchVal(`select '${word}'::timestamptz`)
      expect(await database.fetchVal(kept, { text: '%timestamptz%' })).toBe(0)
    },
  )

  it('with the time literal now give the current time', async () => {
    const sql = "select 'now'::timestamptz = now()"
    for (let round = 0; round < 3; round += 1) expect(await database.fetchVal(sql)).toBe(true)
  })

  it('use the time zone of each transaction', async () => {
    const midnight = (): Promise<unknown> =>
      database.fetchVal(`select extract(epoch from timestamptz '2026-01-01 00:00')::int`)
    const usual = await midnight()
    const midnights = ['UTC', 'Asia/Kolkata'].map((zone) =>
      database.transaction(async (tx) => {
        await tx.execute(`set local time zone '${zone}'`)
        return midnight()
      }),
    )
    expect(await Promise.all(midnights)).toEqual([1_767_225_600, 1_767_205_800])
    expect(await midnight()).toBe(usual)
  })

  it('use a setting that was made by a function', async () => {
    const date = (): Promise<unknown> => database.fetchVal(`select date '01/02/2026' - date '2026-01-01'`)
    const styles = ['ISO, MDY', 'ISO, DMY'].map((style) =>
      database.transaction(async (tx) => {
        await tx.fetchVal(`select set_config('DateStyle', :style, true)`, { style })
        return date()
      }),
    )
    expect(await Promise.all(styles)).toEqual([1, 31])
  })

  it('read the tables in the schema of each role', async () => {
    const roles = ['millpond_role_a', 'millpond_role_b']
    for (const [n, role] of roles.entries()) {
      await context.admin(`create role ${role}`)
      await context.admin(`create schema ${role} authorization ${role}`)
      await context.admin(`create table ${role}.t as select ${n} as ${'n'.repeat(n + 1)}`)
      await context.admin(`grant select on ${role}.t to ${role}`)
    }
    const rows = (role: string): Promise<unknown> =>
      database.transaction(async (tx) => {
        await tx.execute(`set local role ${role}`)
        return tx.fetchAll('select * from t')
      })
    const [a = '', b = ''] = roles
    expect([await rows(a), await rows(b), await rows(a)]).toEqual([[{ n: 0 }], [{ nn: 1 }], [{ n: 0 }]])
    for (const role of roles) {
      await context.admin(`drop schema ${role} cascade`)
      await context.admin(`drop role ${role}`)
    }
  })

  it.each([['set local search_path to'], ["select set_config('search_path',"]])(
    'read the tables of each tenant by the search path, whatever their columns: %s',
    async (setting) => {
      await context.admin('create schema tenant_a')
      await context.admin('create schema tenant_b')
      await context.admin('create table tenant_a.t as select 1 as x')
      await context.admin('create table tenant_b.t as select 2 as x, 3 as y')
      const rows = (tenant: string): Promise<unknown> =>
        database.transaction(async (tx) => {
          await tx.execute(
            setting.startsWith('set') ? `${setting} ${tenant}` : `${setting} '${tenant}', true)`,
          )
          await tx.fetchVal('select 1')
          return tx.fetchAll('select * from t')
        })
      expect(await rows('tenant_a')).toEqual([{ x: 1 }])
      expect(await rows('tenant_b')).toEqual([{ x: 2, y: 3 }])
      expect(await rows('tenant_a')).toEqual([{ x: 1 }])
      await context.admin('drop schema tenant_a, tenant_b cascade')
    },
  )

  it('are kept across settings that do not change their meaning', async () => {
    const runs =
      'select generic_plans + custom_plans as runs from pg_prepared_statements where statement = :text'
    for (const sql of [
      "set local lock_timeout = '5s'",
      "set local app.tenant = '1'",
      'set transaction read only',
      "select set_config('app.tenant', '1', true)",
      "SELECT set_config('app.tenant', :n, true), set_config('app.user', :n::text, true)",
    ])
      await database.transaction(async (tx) => {
        await tx.execute(sql, sql.includes(':n') ? { n: '1' } : {})
        await tx.fetchVal('select :n::int', { n: 1 })
      })
    await database.transaction(async () => {
      await database.knex.raw("select set_config('app.tenant', ?, true)", ['1'])
      await database.fetchVal('select :n::int', { n: 1 })
    })
    expect(await database.fetchVal(runs, { text: 'select $1::int' })).toBe('6')
  })

  it.each([
    "select set_config('app.tenant', '1', false)",
    "select set_config('app.tenant', '1', true), set_config('app.user', '1', false)",
    "select set_config('app.tenant', '1', not true)",
    "select set_config('app.tenant', '1', true) from set_config('app.user', '1', false)",
    "select set_config('app.tenant', 'a'', true), set_config(''', true), set_config('app.user', 'b', false)",
    "select set_config('app.tenant', set_config('app.user', '1', false), true)",
  ])('and are not kept, nor is the setting, after %s', async (sql) => {
    await database.fetchVal('select :n::int', { n: 1 })
    await database.transaction((tx) => tx.fetchVal(sql))
    const settings = "select concat(current_setting('app.tenant', true), current_setting('app.user', true))"
    expect(await database.fetchVal(settings)).toBe('')
    const others =
      "select count(*)::int from pg_prepared_statements where statement not like '%current_setting%'"
    expect(await database.fetchVal(others)).toBe(0)
  })

  describe('after a change of a table', () => {
    beforeEach(async () => {
      await database.execute('create table changing (a int)')
    })
    afterEach(async () => {
      await database.execute('drop table changing')
    })
    const read = (): Promise<unknown> => database.fetchAll('select * from changing')
    const readLater = (): Promise<unknown> =>
      database.transaction(async (tx) => {
        await tx.fetchVal('select 1')
        return read()
      })
    const alter = async (): Promise<void> => {
      await database.execute('alter table changing add b int')
      await database.execute('insert into changing values (1, 2)')
      expect(await read()).toEqual([{ a: 1, b: 2 }])
      throw new Error('out')
    }

    it('that was rolled back are parsed again', async () => {
      await read()
      await undone(database.transaction(alter))
      expect(await readLater()).toEqual([])
    })

    it('that was rolled back to a savepoint are parsed again', async () => {
      await database.transaction(async (tx) => {
        await read()
        await undone(tx.transaction(alter))
        expect(await read()).toEqual([])
      })
      expect(await readLater()).toEqual([])
    })

    it('that was made by a text of several statements are parsed again', async () => {
      await database.transaction(async () => {
        await read()
        await database.knex.raw('select 1; alter table changing add b int; insert into changing values (1)')
        expect(await read()).toEqual([{ a: 1, b: null }])
      })
    })
  })

  it('give the value of a type parser that is set on the connection', async () => {
    const read = 'select 1::int8 as n'
    expect(await database.fetchOne(read)).toEqual({ n: '1' })
    await database.connection(async (connection) => {
      ;(connection.raw as Client).setTypeParser(20, (text: string) => BigInt(text))
      expect(await connection.fetchOne(read)).toEqual({ n: 1n })
    })
    expect(await database.fetchOne(read)).toEqual({ n: '1' })
  })

  it('fail with the error of a type parser, and the connection can be used again', async () => {
    await database.connection(async (connection) => {
      ;(connection.raw as Client).setTypeParser(20, () => {
        throw new RangeError('too large for me')
      })
      const error = await failure(connection.fetchAll('select n::int8 from generate_series(1, 3) as n'))
      expect(error.cause).toBeInstanceOf(RangeError)
      expect(await connection.fetchVal('select 4::int4')).toBe(4)
    })
  })

  it('are parsed again after a DO block has deallocated them, also later in a transaction', async () => {
    await database.connection(async (connection) => {
      const read = (): Promise<unknown> => connection.fetchVal('select :n::int', { n: 1 })
      await read()
      await connection.transaction(async (tx) => {
        await tx.execute(`do $$ begin execute 'deallocate all'; end $$`)
        expect(await tx.fetchVal('select :n::int', { n: 2 })).toBe(2)
      })
      expect(await read()).toBe(1)
    })
  })

  // The server's answers to both queries are of the same kind.
  it('are parsed again while they wait behind a query of connection.raw', async () => {
    await database.execute('create table beside (id int)')
    await database.connection(async (connection) => {
      const { raw } = connection
      const readBehind = async (): Promise<unknown> => {
        const own = (raw as Client).query('select $1::int', [1])
        const [result] = await Promise.allSettled([connection.fetchAll('select * from beside'), own])
        return result
      }
      await readBehind()
      await context.admin('alter table beside add column name text')
      expect(await readBehind()).toEqual({ status: 'fulfilled', value: [] })
      await context.admin('alter table beside rename to other')
      expect(await readBehind()).toMatchObject({ status: 'rejected' })
      await context.admin('alter table other rename to beside')
      await connection.transaction(async (tx) => {
        await tx.execute('insert into beside (id) values (1)')
        expect(await tx.fetchAll('select id from beside')).toEqual([{ id: 1 }])
        expect(await tx.fetchAll('select * from beside')).toEqual([{ id: 1, name: null }])
      })
    })
    await context.admin('drop table beside')
  })
})
