/** Brings the service's own schema into a database, and fills it. */
import pg from 'pg'
import { ACCOUNTS, BALANCE, POSTS, USERS } from './endpoints'
import { startServer } from './server-process'
import { SERVICE } from './stacks'

export interface Prepared {
  readonly url: string
  /** Of PostgreSQL's first process; all others are its children. */
  readonly postgresPid: number
  readonly version: string
  /** What all servers are to be started with. */
  readonly environment: Readonly<Record<string, string>>
}

export async function prepare(url: string): Promise<Prepared> {
  // Its migrations run when it starts.
  await (await startServer(SERVICE, databaseOf(url))).stop()
  return withClient(url, async (client) => {
    await client.query(`
      INSERT INTO users (username, email)
        SELECT 'user' || n, 'user' || n || '@example.com' FROM generate_series(1, ${USERS}) n;
      INSERT INTO posts (title, content, author_id)
        SELECT 'Post number ' || n, repeat('Some lines that somebody has written. ', 5), 1 + n % ${USERS}
        FROM generate_series(1, ${POSTS}) n;
      INSERT INTO accounts (owner, balance)
        SELECT 'owner' || n, ${BALANCE} FROM generate_series(1, ${ACCOUNTS}) n;
      ANALYZE;
    `)
    const { rows } = await client.query<{ version: string; file: string; keeps: boolean }>(
      `SELECT current_setting('server_version') AS version, pg_read_file('postmaster.pid') AS file,
         to_regclass('transfers') IS NOT NULL AS keeps`,
    )
    const { version = '', file = '', keeps = false } = rows[0] ?? {}
    const environment = { ...databaseOf(url), KEEPS_HISTORY: String(keeps) }
    return { url, version, environment, postgresPid: Number.parseInt(file, 10) }
  })
}

function databaseOf(url: string): Record<string, string> {
  return { DATABASE_URL: url, PRODUCTS_DATABASE_URL: url }
}

/** @throws Error when money was lost or made */
export async function checkMoney(url: string): Promise<void> {
  await withClient(url, async (client) => {
    const { rows } = await client.query<{ sum: string }>('SELECT sum(balance) AS sum FROM accounts')
    if (Number(rows[0]?.sum) !== ACCOUNTS * BALANCE) throw new Error(`the balances add up to ${rows[0]?.sum}`)
  })
}

async function withClient<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client(url)
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}
