/** Brings the service's own schema into a database of PostgreSQL, and fills it. */
import pg from 'pg'
import { ACCOUNTS, BALANCE, POSTS, USERS } from './endpoints'
import { startServer } from './server-process'
import { SERVICE, type Stack } from './stacks'

/** Where the rows are that the stacks work on. */
export interface Place {
  /** What a stack is to be started with. */
  environmentOf(this: void, stack: Stack): Readonly<Record<string, string>>
  /** Of PostgreSQL's first process; all others are its children. Null where there is none. */
  readonly postgresPid: number | null
  /** @throws Error when money was lost or made */
  checkMoney(this: void): Promise<void>
}

export interface Prepared extends Place {
  readonly url: string
  readonly version: string
}

export async function prepare(url: string): Promise<Prepared> {
  const environment = environmentFor(url)
  // Its migrations run when it starts.
  await (await startServer(SERVICE, environment)).stop()
  return withClient(url, async (client) => {
    for (const statement of FILLING) await client.query(statement)
    await client.query('ANALYZE')
    const { rows } = await client.query<{ version: string; file: string }>(
      "SELECT current_setting('server_version') AS version, pg_read_file('postmaster.pid') AS file",
    )
    const { version = '', file = '' } = rows[0] ?? {}
    const money = () => withClient(url, async (auditor) => (await auditor.query<Sum>(SUM)).rows[0])
    return {
      url,
      version,
      environmentOf: () => environment,
      postgresPid: Number.parseInt(file, 10),
      checkMoney: keptSince(await money(), money),
    }
  })
}

/** For the service and its peers. */
export function environmentFor(url: string): Readonly<Record<string, string>> {
  return { DATABASE_URL: url, PRODUCTS_DATABASE_URL: url }
}

/** Of all balances. */
export const SUM = 'SELECT sum(balance) AS sum FROM accounts'

export interface Sum {
  readonly sum: string | number
}

/** Whether the money is still what it was. */
export function keptSince(before: Sum | undefined, now: () => Promise<Sum | undefined>): Place['checkMoney'] {
  return async () => {
    const after = await now()
    if (after === undefined || after.sum !== before?.sum) {
      throw new Error(`The balances added up to ${before?.sum}, and to ${after?.sum} now`)
    }
  }
}

/** In SQL that every database knows. */
export const FILLING = [
  `INSERT INTO users (username, email) ${numbers(USERS)}
    SELECT 'user' || n, 'user' || n || '@example.com' FROM numbers`,
  `INSERT INTO posts (title, content, author_id) ${numbers(POSTS)}
    SELECT 'Post number ' || n, '${'Some lines that somebody has written. '.repeat(5)}', 1 + n % ${USERS} FROM numbers`,
  `INSERT INTO accounts (owner, balance) ${numbers(ACCOUNTS)} SELECT 'owner' || n, ${BALANCE} FROM numbers`,
  // Those that the service has brought itself would soon be empty.
  `UPDATE accounts SET balance = ${BALANCE}`,
]

function numbers(count: number): string {
  return `WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ${count})`
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
