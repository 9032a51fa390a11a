/** Scratch databases on a PostgreSQL server. */
import { randomBytes } from 'node:crypto'
import { Client } from 'pg'
import type { Scratch } from './scratch'

/** What the connections of other clients to this database do. */
const ACTIVITY = `
  select pid, application_name, state, xact_start is not null as in_transaction, left(query, 200) as query
  from pg_stat_activity
  where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()`

interface Activity {
  pid: number
  application_name: string
  state: string
  in_transaction: boolean
  query: string
}

export class ScratchPostgres implements Scratch {
  readonly dialect = 'postgresql'
  readonly driver = 'pg'
  readonly title: string
  readonly #server: string
  readonly #names: string[] = []
  readonly #clients = new Map<string, Client>()

  constructor(server: string, title: string) {
    this.#server = server
    this.title = title
  }

  async create(): Promise<string> {
    const name = `millpond_test_${process.pid}_${randomBytes(6).toString('hex')}`
    // template0 takes no connections, so that no other worker can be in the way of the copy.
    await this.#onServer(`create database ${name} template template0`)
    this.#names.push(name)
    const url = new URL(this.#server)
    url.pathname = `/${name}`
    return url.href
  }

  async query(url: string, sql: string): Promise<Record<string, unknown>[]> {
    const client = await this.#client(url)
    const { rows } = await client.query<Record<string, unknown>>(sql)
    return rows
  }

  async openTransactions(url: string): Promise<string[]> {
    const activity = await this.#activity(url)
    return activity.filter((one) => one.in_transaction).map(describeActivity)
  }

  async connections(url: string): Promise<string[]> {
    return (await this.#activity(url)).map(describeActivity)
  }

  async closeConnections(url: string): Promise<void> {
    const client = await this.#client(url)
    await client.query(`select pg_terminate_backend(pid) from (${ACTIVITY}) as others`)
  }

  async dropAll(): Promise<void> {
    await Promise.all([...this.#clients.values()].map((client) => client.end()))
    this.#clients.clear()
    for (const name of this.#names.splice(0)) await this.#onServer(`drop database ${name} with (force)`)
  }

  async #activity(url: string): Promise<Activity[]> {
    const client = await this.#client(url)
    const { rows } = await client.query<Activity>(ACTIVITY)
    return rows
  }

  /** One connection per database, replaced when a test's faults took it too. */
  async #client(url: string): Promise<Client> {
    const known = this.#clients.get(url)
    if (known) return known
    const client = new Client({ connectionString: url, application_name: 'millpond-tests' })
    client.on('error', () => this.#clients.delete(url))
    client.on('end', () => this.#clients.delete(url))
    await client.connect()
    this.#clients.set(url, client)
    return client
  }

  async #onServer(sql: string): Promise<void> {
    const client = new Client({ connectionString: this.#server, application_name: 'millpond-tests' })
    await client.connect()
    try {
      await client.query(sql)
    } finally {
      await client.end()
    }
  }
}

function describeActivity({ pid, application_name, state, query }: Activity): string {
  return `backend ${pid} (${application_name || 'unnamed'}), ${state}, last statement: ${query}`
}
