/** Logins to PostgreSQL: Unix sockets, passwords from a function, PG* variables and the password file. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { ConnectionError, Database, DatabaseURL } from '../../../src/database'
import { failure } from '../support'
import { eachDatabase } from '../../support/each-database'
import { freePort } from '../../support/free-port'

eachDatabase('a login', (context) => {
  if (context.dialect === 'sqlite') {
    it('needs no user name for SQLite', () => {
      expect(new DatabaseURL(context.url)).toMatchObject({ username: null, password: null, hostname: null })
    })
    return
  }

  it('uses a Unix socket when the URL names its folder as the host', async () => {
    const url = new DatabaseURL(context.url)
    const port = url.port ?? 5432
    const folder = await mkdtemp(path.join(tmpdir(), 'millpond-socket-'))
    const sockets: Socket[] = []
    const socket = createServer((near) => {
      const far = connect(port, url.hostname ?? '127.0.0.1')
      sockets.push(near, far)
      for (const end of [near, far]) end.on('error', () => end.destroy())
      near.pipe(far).pipe(near)
    })
    try {
      await new Promise<void>((resolve) => socket.listen(path.join(folder, `.s.PGSQL.${port}`), resolve))
      const database = new Database(url.replace({ hostname: null, options: { host: folder } }).href)
      await database.connect()
      expect(await database.fetchVal('select current_database()')).toBe(url.database)
      await database.disconnect()
      expect(sockets.length).toBeGreaterThan(0)
    } finally {
      for (const one of sockets) one.destroy()
      socket.close()
      await rm(folder, { recursive: true })
    }
  })

  it('calls a password function for each attempt', async () => {
    const passwords: string[] = []
    const server = passwordAsker((password) => passwords.push(password))
    const port = await freePort()
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
    let asked = 0
    const password = async (): Promise<string> => `rotated ${++asked}`
    const database = new Database(`postgresql://app@127.0.0.1:${port}/d`, {
      knex: { connection: { password } },
    })
    expect(await failure(database.connect())).toBeInstanceOf(ConnectionError)
    expect(await failure(database.connect())).toBeInstanceOf(ConnectionError)
    await new Promise((resolve) => server.close(resolve))
    expect(passwords).toEqual(['rotated 1', 'rotated 2'])
  })

  it('takes what the URL leaves out from PG* variables and the password file', async () => {
    const passwords: string[] = []
    const server = passwordAsker((password) => passwords.push(password))
    const port = await freePort()
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
    const folder = await mkdtemp(path.join(tmpdir(), 'millpond-pgpass-'))
    const file = path.join(folder, 'pgpass')
    await writeFile(file, `127.0.0.1:${port}:shop:app:out of the file\n`, { mode: 0o600 })
    const variables = { PGHOST: '127.0.0.1', PGPORT: String(port), PGUSER: 'app', PGDATABASE: 'shop' }
    try {
      Object.assign(process.env, variables, { PGPASSFILE: file })
      expect(await failure(new Database('postgresql://').connect())).toBeInstanceOf(ConnectionError)
      process.env['PGPASSWORD'] = 'out of the variable'
      expect(await failure(new Database('postgresql://').connect())).toBeInstanceOf(ConnectionError)
    } finally {
      for (const name of [...Object.keys(variables), 'PGPASSFILE', 'PGPASSWORD']) delete process.env[name]
      await new Promise((resolve) => server.close(resolve))
      await rm(folder, { recursive: true })
    }
    expect(passwords).toEqual(['out of the file', 'out of the variable'])
  })
})

/**
 * Asks each client for its password in clear, and turns it away: as much of a server as a login needs.
 * https://www.postgresql.org/docs/current/protocol-message-formats.html
 */
function passwordAsker(tell: (password: string) => void): Server {
  return createServer((client) => {
    client.once('data', () => {
      client.write(Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 3]))
      client.once('data', (message) => {
        tell(message.subarray(5, -1).toString())
        const fields = 'SFATAL\0C28P01\0Mpassword authentication failed\0\0'
        const head = Buffer.alloc(5)
        head.write('E')
        head.writeInt32BE(fields.length + 4, 1)
        client.end(Buffer.concat([head, Buffer.from(fields)]))
      })
    })
  })
}
