/** Statements and calls at the edges: COPY, temporary tables, columns of one name, listeners, joined connections. */
import {
  BindError,
  type Connection,
  ConfigurationError,
  type Database,
  DatabaseURL,
  QueryError,
  TransactionClosedError,
} from '../../../src/database'
import { eachDatabase } from '../../support/each-database'
import { waitFor } from '../../support/wait-for'
import { all, failure, idsOf, undone, valueOrMessage } from '../support'

eachDatabase('a statement at the edge', (context) => {
  let database: Database

  beforeEach(async () => {
    database = await context.open()
    await database.execute('create table t (id integer primary key, name text)')
  })
  afterEach(async () => {
    await context.admin('drop table t')
  })

  if (context.dialect === 'postgresql') {
    it('is refused when it is a COPY that needs a stream', async () => {
      for (const copy of ['copy t from stdin', 'COPY t (id)\nTO  STDOUT', 'copy (select 1) to stdout']) {
        const error = await failure(database.execute(copy))
        expect(error).toBeInstanceOf(QueryError)
        expect(error.message).toMatch(/needs a stream.*executeMany/)
      }
      expect(await database.fetchVal('select 1')).toBe(1)
    })
  }

  const twins = "insert into t values (1, 'x') returning id as a, name as a"

  if (context.driver !== 'sqlite3') {
    it('that returns two columns of one name gives each by its index', async () => {
      expect(await database.fetchVal(twins, {}, { column: 1 })).toBe('x')
    })
  } else {
    it('that returns two columns of one name says that it cannot tell them apart', async () => {
      const error = await failure(database.fetchVal(twins, {}, { column: 1 }))
      expect(error).toBeInstanceOf(QueryError)
      expect(error.message).toMatch(/did not run.*Name them apart with AS/)
      expect(await idsOf(database)).toEqual([])
      const numbered = `insert into t values (2, 'x') returning name as "1", id as "0"`
      expect(await database.fetchVal(numbered)).toBe('x')
      const computed = `insert into t values (3, 'x') returning coalesce(name, 1, 2, 3) as b, id as c`
      expect(await database.fetchVal(computed, {}, { column: 1 })).toBe(3)
    })
  }

  it('that ends in VALUES, or in a comment, gives its first row', async () => {
    await database.execute("insert into t values (1, 'x'), (2, 'y')")
    for (const [sql, first] of [
      ['with one as (select 1) values (1), (2)', 1],
      ['select 1 as n union all values (2), (3)', 1],
      ['select id from t order by id -- all of them', 1],
      ['select id from t order by id desc; -- limit 1', 2],
      ["select ';' || 'limit' as n from t", ';limit'],
      ['select id from t where id in (select id from t order by id desc limit 1)', 2],
    ] as const) {
      expect(Object.values((await database.fetchOne(sql)) ?? {})).toEqual([first])
      expect(await database.fetchVal(sql)).toBe(first)
    }
  })

  it('gives its first row, or its error, as it gives all rows', async () => {
    const texts = [
      'select 1 -- one',
      'select 1 /* and */ + 1',
      'select 2;',
      ';select 3',
      'select 4 /* for ever',
      'select 1 +',
    ]
    for (const text of [...texts, "select 'a;b'", 'select id from t where', 'select 1 limit 1 -- 2']) {
      const rows = await valueOrMessage(database.fetchAll(text))
      const one = await valueOrMessage(database.fetchOne(text))
      expect(Array.isArray(rows) ? { one } : one).toEqual(
        Array.isArray(rows) ? { one: rows[0] ?? null } : rows,
      )
    }
  })

  if (context.dialect === 'sqlite') {
    it('gives the first of all rows where another LIMIT would give others', async () => {
      await database.execute("insert into t values (1, 'x'), (2, 'y'), (3, 'z')")
      const query = 'select * from (select * from t limit 2) order by id desc'
      const [first] = await database.fetchAll(query)
      expect(await database.fetchOne(query)).toEqual(first)
    })

    it('that is a PRAGMA of many steps runs to its end', async () => {
      await database.connection(async (connection) => {
        await connection.execute('pragma auto_vacuum = 2')
        await connection.execute('vacuum')
        await connection.execute(
          "insert into t select value, hex(zeroblob(4000)) from json_each('[1,2,3,4,5,6,7,8,9]')",
        )
        await connection.execute('delete from t')
        expect(await connection.fetchVal('pragma freelist_count')).toBeGreaterThan(5)
        await connection.execute('pragma incremental_vacuum')
        expect(await connection.fetchVal('pragma freelist_count')).toBe(0)
      })
    })

    it('with a comment that never ends is what stands in front of it', async () => {
      const insert = "insert into t (name) values ('x') /* RETURNING"
      expect(await database.execute(insert)).toEqual({ rowCount: 1, lastInsertId: 1 })
      expect(await database.fetchOne('select id from t /* limit')).toEqual({ id: 1 })
      expect(await database.fetchAll('select 7 as n /* big')).toEqual([{ n: 7 }])
    })

    it('that reads a column with the name of a keyword locks nothing when it was only counted', async () => {
      const one = await context.open({ pool: { size: 1, maxOverflow: 0 } })
      await one.execute('create table keywords (merge integer)')
      await one.execute('insert into keywords values (1), (2)')
      expect(await one.execute('select merge from keywords')).toEqual({ rowCount: 0, lastInsertId: null })
      await database.execute('insert into keywords values (3)')
      expect(await one.fetchVal('select count(*) from keywords')).toBe(3)
      await one.execute('drop table keywords')
      await one.execute('create table keywords (merge boolean)')
      await one.execute('insert into keywords values (1)')
      const query = 'select merge from keywords'
      const row = { merge: true }
      expect(await one.fetchAll(query)).toEqual([row])
      expect(await one.fetchOne(query)).toEqual(row)
      expect(await all(one.iterate(query))).toEqual([row])
    })
  }

  it('on a temporary table is read as that was declared, on its own connection only', async () => {
    await context.admin('create table flags (on_off boolean)')
    await context.admin('insert into flags values (true)')
    const read = 'select on_off from flags'
    expect(await database.fetchVal(read)).toBe(true)
    await database.connection(async (connection) => {
      await connection.execute('create temporary table flags (on_off integer)')
      await connection.execute('insert into flags values (1)')
      expect(await connection.fetchVal(read)).toBe(1)
      expect(await database.detached(() => database.fetchVal(read))).toBe(true)
      await connection.execute(
        'drop table temp.flags'.replace('temp.', context.dialect === 'sqlite' ? 'temp.' : ''),
      )
      expect(await connection.fetchVal(read)).toBe(true)
    })
  })

  it('of a listener is none of the transaction whose statement it was told of', async () => {
    const seen: unknown[] = []
    database.on('query', ({ sql }) => {
      if (!sql.startsWith('insert')) return
      void database.fetchVal('select count(*) from t').then((count) => seen.push(Number(count)))
    })
    await database.transaction(async (tx) => {
      await tx.execute("insert into t values (1, 'x')")
      await waitFor(() => seen.length > 0, { what: 'the listener’s query' })
    })
    expect(seen).toEqual([0])
  })

  it('whose value a Knex builder cannot bind says so', async () => {
    if (context.dialect === 'postgresql') return // pg binds anything as text.
    for (const value of [Number.NaN, Symbol('x')]) {
      const error = await failure(database.fetchAll(database.table('t').where('id', value as never)))
      expect(error).toBeInstanceOf(BindError)
      const awaited = await failure(Promise.resolve(database.table('t').where('id', value as never)))
      expect(awaited).toBeInstanceOf(BindError)
    }
  })

  it('of a method keeps its object in transactional()', async () => {
    class Names {
      readonly name = 'kept'
      readonly add = database.transactional(async function (this: Names, id: number) {
        await database.execute('insert into t values (:id, :name)', { id, name: this.name })
      })
    }
    await new Names().add(7)
    expect(await database.fetchVal('select name from t where id = 7')).toBe('kept')
  })

  it('on a connection inside a transaction runs in that, until the connection’s block has ended', async () => {
    let kept: Connection | undefined
    await undone(
      database.transaction(async (tx) => {
        await database.connection(async (connection) => {
          kept = connection
          expect(connection.raw).toBe(await database.connection(async ({ raw }) => raw))
          await connection.execute("insert into t values (1, 'x')")
          const inner = await connection.begin()
          await inner.execute("insert into t values (2, 'x')")
          await inner.rollback()
          await connection
            .transaction(() => connection.execute("insert into t values (3, 'x')").then(() => undefined))
            .catch(() => undefined)
        })
        await expect(kept?.fetchVal('select 1')).rejects.toThrow(TransactionClosedError)
        await expect(kept?.begin()).rejects.toThrow(TransactionClosedError)
        await expect(kept?.transaction(() => Promise.resolve())).rejects.toThrow(TransactionClosedError)
        expect(await tx.fetchVal('select count(*) from t where id = 1')).toEqual(
          context.dialect === 'sqlite' ? 1 : '1',
        )
        throw new Error('out')
      }),
    )
    expect(await idsOf(database)).toEqual([])
  })
})

describe('DatabaseURL.replace()', () => {
  const url = new DatabaseURL('postgresql://app@db:5432/shop?sslmode=require')

  it('names the part that cannot be', () => {
    const wrong: [object, RegExp][] = [
      [{ hostname: 'db:5433' }, /'db:5433' is neither a host name nor an IPv6 address/],
      [{ hostname: 5 }, /hostname of a database URL is of type string or null, got number/],
      [{ options: null }, /options of a database URL is of type object, got null/],
      [{ database: null }, /database of a database URL is of type string/],
      [{ port: '5433' }, /port of a database URL is of type number or null, got string/],
      [{ hots: 'db' }, /has no part 'hots'/],
    ]
    for (const [changes, message] of wrong) {
      expect(() => url.replace(changes)).toThrow(ConfigurationError)
      expect(() => url.replace(changes)).toThrow(message)
    }
  })

  it('leaves a part that is undefined as it is', () => {
    expect(url.replace({ hostname: undefined as never, port: 5433 }).href).toBe(
      'postgresql://app@db:5433/shop?sslmode=require',
    )
    expect(url.replace({ hostname: '::1' }).hostname).toBe('::1')
  })
})
