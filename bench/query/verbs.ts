/** Each verb of a Database on PostgreSQL against pg with named statements, one after the other. */
import { knex as connectKnex, type Knex } from 'knex'
import pg from 'pg'
import { Database } from '../../src/database'
import type { Group } from './compare'

export interface Verbs {
  readonly groups: readonly Group[]
  close(): Promise<void>
}

const ROWS = 1000

interface Clients {
  readonly database: Database
  readonly knex: Knex
  readonly client: pg.Client
  readonly pool: pg.Pool
}

/** Makes the tables and the connections that the verbs are measured with. */
export async function openVerbs(url: string): Promise<Verbs> {
  const clients: Clients = {
    database: new Database(url, { pool: { size: 10, maxOverflow: 0 } }),
    knex: connectKnex({ client: 'pg', connection: url, pool: { min: 0, max: 10 } }),
    client: new pg.Client(url),
    pool: new pg.Pool({ connectionString: url, max: 10 }),
  }
  await clients.database.connect()
  await clients.client.connect()
  await clients.client.query(`
    CREATE TABLE people (id integer PRIMARY KEY, name text NOT NULL, email text NOT NULL, visits integer NOT NULL);
    INSERT INTO people SELECT n, 'name' || n, 'name' || n || '@example.com', 0 FROM generate_series(1, ${ROWS}) n;
    ANALYZE people;
  `)
  return {
    groups: [
      reading(clients),
      readingOneValue(clients),
      readingMany(clients),
      writing(clients),
      inTransaction(clients),
    ],
    async close() {
      await clients.database.disconnect()
      await clients.knex.destroy()
      await clients.client.end()
      await clients.pool.end()
    },
  }
}

const idOf = (index: number): number => 1 + (index % ROWS)

const BY_ID = 'SELECT id, name, email FROM people WHERE id = '
const byId = (id: number) => ({ name: 'by id', text: `${BY_ID}$1`, values: [id] })

function reading({ database, knex, client, pool }: Clients): Group {
  const row = () => database.table('people').select('id', 'name', 'email')
  return {
    title: 'one row by its id',
    ways: [
      { name: 'pg client, named', run: async (i) => (await client.query(byId(idOf(i)))).rows[0] },
      { name: 'pg pool, named', run: async (i) => (await pool.query(byId(idOf(i)))).rows[0] },
      { name: 'fetchOne, text', run: (i) => database.fetchOne(`${BY_ID}:id`, { id: idOf(i) }) },
      { name: 'fetchOne, builder', run: (i) => database.fetchOne(row().where({ id: idOf(i) })) },
      {
        name: 'Knex, first()',
        run: (i) =>
          knex('people')
            .select('id', 'name', 'email')
            .where({ id: idOf(i) })
            .first(),
      },
    ],
  }
}

function readingOneValue({ database, client }: Clients): Group {
  const text = 'SELECT name FROM people WHERE id = '
  const named = (id: number) => ({ name: 'one value', text: `${text}$1`, values: [id] })
  return {
    title: 'one value',
    ways: [
      {
        name: 'pg client, named',
        run: async (i) => (await client.query<{ name: string }>(named(idOf(i)))).rows[0]?.name,
      },
      { name: 'fetchVal, text', run: (i) => database.fetchVal(`${text}:id`, { id: idOf(i) }) },
    ],
  }
}

function readingMany({ database, knex, client }: Clients): Group {
  const text = 'SELECT id, name, email FROM people ORDER BY id LIMIT 50'
  const rows = (query: Knex.QueryBuilder) => query.select('id', 'name', 'email').orderBy('id').limit(50)
  return {
    title: '50 rows',
    ways: [
      { name: 'pg client, named', run: async () => (await client.query({ name: 'many', text })).rows },
      { name: 'fetchAll, text', run: () => database.fetchAll(text) },
      { name: 'fetchAll, builder', run: () => database.fetchAll(rows(database.table('people'))) },
      { name: 'Knex', run: () => rows(knex('people')) },
    ],
  }
}

function writing({ database, knex, client }: Clients): Group {
  const text = 'UPDATE people SET visits = visits + 1 WHERE id = '
  const named = (id: number) => ({ name: 'visit', text: `${text}$1`, values: [id] })
  return {
    title: 'an UPDATE of one row',
    ways: [
      { name: 'pg client, named', run: async (i) => (await client.query(named(idOf(i)))).rowCount },
      { name: 'execute, text', run: (i) => database.execute(`${text}:id`, { id: idOf(i) }) },
      {
        name: 'Knex',
        run: (i) =>
          knex('people')
            .where({ id: idOf(i) })
            .increment('visits', 1),
      },
    ],
  }
}

function inTransaction({ database, knex, client }: Clients): Group {
  const row = (query: Knex) => query('people').select('id', 'name', 'email')
  return {
    title: 'a transaction of one query',
    ways: [
      {
        name: 'knex.transaction',
        run: (i) =>
          knex.transaction((trx) =>
            trx('people')
              .where({ id: idOf(i) })
              .first(),
          ),
      },
      {
        name: 'pg client, named',
        async run(i) {
          await client.query('BEGIN')
          await client.query(byId(idOf(i)))
          await client.query('COMMIT')
        },
      },
      {
        name: 'transaction, text',
        run: (i) => database.transaction((tx) => tx.fetchOne(`${BY_ID}:id`, { id: idOf(i) })),
      },
      {
        name: 'transaction, builder',
        run: (i) => database.transaction(() => database.fetchOne(row(database.knex).where({ id: idOf(i) }))),
      },
    ],
  }
}
