/** A throw-away PostgreSQL whose certificate and pg_hba.conf can be changed while it runs. */
import { readFile } from 'node:fs/promises'
import { Client } from 'pg'
import type { Identity } from './certificates'
import { type PostgresServer, startPostgres } from './postgres-server'
import { waitFor } from './wait-for'

export class TlsPostgres implements AsyncDisposable {
  readonly #server: PostgresServer
  readonly #admin: Client

  private constructor(server: PostgresServer, admin: Client) {
    this.#server = server
    this.#admin = admin
  }

  static async start(): Promise<TlsPostgres> {
    const server = await startPostgres()
    const admin = new Client({ connectionString: server.url })
    await admin.connect()
    return new TlsPostgres(server, admin)
  }

  /** The superuser's URL, without a password. */
  get url(): string {
    return this.#server.url
  }

  get port(): number {
    return Number(new URL(this.url).port)
  }

  async query(sql: string): Promise<Record<string, unknown>[]> {
    const { rows } = await this.#admin.query<Record<string, unknown>>(sql)
    return rows
  }

  /** Turns TLS on with this certificate, and asks clients for one of that authority. */
  async speakTls({ cert, key }: Identity, clientAuthority: string): Promise<void> {
    await this.#write('server.crt', await readFile(cert, 'utf8'))
    await this.#write('server.key', await readFile(key, 'utf8'))
    await this.#write('clients.crt', await readFile(clientAuthority, 'utf8'))
    await this.#reload({ ssl: 'on', ssl_ca_file: 'clients.crt' })
  }

  async speakPlain(): Promise<void> {
    await this.#reload({ ssl: 'off' })
  }

  /** Replaces the rules of pg_hba.conf. This object's own connection is open already. */
  async admit(...rules: string[]): Promise<void> {
    await this.#write('pg_hba.conf', `${rules.join('\n')}\n`)
    await this.#reload({})
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#admin.end()
    await this.#server.stop()
  }

  /** Has the server write the file, since only its user may read it. */
  async #write(name: string, text: string): Promise<void> {
    const [row] = await this.query("select current_setting('data_directory') || '/' as folder")
    const folder = String(row?.['folder'])
    // By a program, since COPY itself would let everybody read a key, which the server refuses then.
    const program = this.#admin.escapeLiteral(`umask 077 && cat > '${folder}${name}'`)
    const lines = text
      .trimEnd()
      .split('\n')
      .map((line) => this.#admin.escapeLiteral(line))
    await this.query(`copy (select unnest(array[${lines.join(', ')}])) to program ${program}`)
  }

  async #reload(settings: Record<string, string>): Promise<void> {
    for (const [name, value] of Object.entries(settings))
      await this.query(`alter system set ${name} = '${value}'`)
    const [before] = await this.query('select pg_conf_load_time()::text as time, pg_reload_conf()')
    // A backend reads it between two statements, and so does the postmaster, which takes it first.
    await waitFor(async () => {
      const [now] = await this.query('select pg_conf_load_time()::text as time')
      return now?.['time'] !== before?.['time']
    })
  }
}
