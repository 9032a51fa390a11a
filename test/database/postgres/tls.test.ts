/** TLS to PostgreSQL: each sslmode means what it means to libpq, for the pool, ping() and cancel requests. */
import { once } from 'node:events'
import { type AddressInfo, connect as connectSocket, createServer, type Server } from 'node:net'
import { Database, type DatabaseOptions, DatabaseURL, knexConfig } from '../../../src/database'
import { Certificates, type Identity } from '../../support/certificates'
import { freePort } from '../../support/free-port'
import { standingCheck } from '../../support/standing-check'
import { TlsPostgres } from '../../support/tls-postgres'
import { waitFor } from '../../support/wait-for'

const TRUST = 'host all postgres 127.0.0.1/32 trust'

/** The code in an unencrypted CancelRequest. */
const CANCEL_CODE = Buffer.from([0x04, 0xd2, 0x16, 0x2e])

/** A proxy that records everything that clients send. */
class RecordingProxy implements AsyncDisposable {
  readonly #server: Server
  #everything: Buffer = Buffer.alloc(0)
  connections = 0

  private constructor(to: number) {
    this.#server = createServer((near) => {
      this.connections += 1
      const far = connectSocket(to, '127.0.0.1')
      near.on('data', (data) => (this.#everything = Buffer.concat([this.#everything, data])))
      near.pipe(far).pipe(near)
      // A pipe does not close one end when the other is cut off.
      near.on('error', () => undefined).on('close', () => far.destroy())
      far.on('error', () => undefined).on('close', () => near.destroy())
    })
  }

  static async to(port: number): Promise<RecordingProxy> {
    const wire = new RecordingProxy(port)
    wire.#server.listen(await freePort(), '127.0.0.1')
    await once(wire.#server, 'listening')
    return wire
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  get everything(): Buffer {
    return this.#everything
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close()
    await once(this.#server, 'close')
  }
}

describe('TLS to PostgreSQL', () => {
  standingCheck()
  let server: TlsPostgres
  let certificates: Certificates
  let ca: string
  let otherCa: string
  let forAddress: Identity
  let forName: Identity
  let forOthers: Identity
  let ofUnknown: Identity
  let client: Identity

  beforeAll(async () => {
    certificates = await Certificates.make()
    ca = await certificates.authority('authority')
    otherCa = await certificates.authority('stranger')
    const address = { type: 'ip', value: '127.0.0.1' } as const
    forAddress = await certificates.signed('authority', 'address', [address])
    forName = await certificates.signed('authority', 'name', [{ type: 'dns', value: 'localhost' }])
    forOthers = await certificates.signed('authority', 'others', [{ type: 'dns', value: 'db.example.org' }])
    ofUnknown = await certificates.signed('stranger', 'unknown', [address])
    client = await certificates.signed('authority', 'ada')
    server = await TlsPostgres.start()
  })
  afterAll(async () => {
    await server[Symbol.asyncDispose]()
    await certificates[Symbol.asyncDispose]()
  })
  beforeEach(() => server.admit(TRUST, 'host all ada 127.0.0.1/32 scram-sha-256'))

  const urlWith = (parameters: string, { host = '127.0.0.1', user = 'postgres' } = {}): string =>
    `postgresql://${user}@${host}:${server.port}/postgres?${parameters}`

  /** `TLS` or `plain`, as the server sees the connections of the pool and of ping(), or the message of the error. */
  async function reached(url: string, options?: DatabaseOptions): Promise<string> {
    await using database = new Database(url, { ...options, connectTimeoutMillis: 5000 })
    try {
      await database.connect()
    } catch (error) {
      return (error as Error).message
    }
    await database.ping({ timeoutMillis: 20_000 })
    const rows = await server.query(
      "select ssl from pg_stat_ssl join pg_stat_activity using (pid) where application_name = 'millpond'",
    )
    expect(rows).toHaveLength(2)
    const ways = rows.map(({ ssl }) => (ssl === true ? 'TLS' : 'plain'))
    return [...new Set(ways)].join(' and ')
  }

  it('is used or not as each sslmode says, with a valid certificate', async () => {
    await server.speakTls(forAddress, ca)
    const root = `sslrootcert=${ca}`
    expect({
      none: await reached(urlWith('')),
      disable: await reached(urlWith('sslmode=disable')),
      allow: await reached(urlWith('sslmode=allow')),
      prefer: await reached(urlWith('sslmode=prefer')),
      require: await reached(urlWith('sslmode=require')),
      'require with sslrootcert': await reached(urlWith(`sslmode=require&${root}`)),
      'verify-ca': await reached(urlWith(`sslmode=verify-ca&${root}`)),
      'verify-full': await reached(urlWith(`sslmode=verify-full&${root}`)),
    }).toEqual({
      none: 'plain',
      disable: 'plain',
      allow: 'plain',
      prefer: 'TLS',
      require: 'TLS',
      'require with sslrootcert': 'TLS',
      'verify-ca': 'TLS',
      'verify-full': 'TLS',
    })
  })

  it('verifies the host name only with verify-full, for names and addresses', async () => {
    const verifyCa = `sslmode=verify-ca&sslrootcert=${ca}`
    const verifyFull = `sslmode=verify-full&sslrootcert=${ca}`
    await server.speakTls(forName, ca)
    expect(await reached(urlWith(verifyFull, { host: 'localhost' }))).toBe('TLS')
    // A certificate for localhost is not valid for an address.
    expect(await reached(urlWith(verifyFull))).toMatch(/127\.0\.0\.1.*not in the cert/)
    await server.speakTls(forOthers, ca)
    expect(await reached(urlWith(verifyCa))).toBe('TLS')
    expect(await reached(urlWith(verifyFull, { host: 'localhost' }))).toMatch(/localhost.*db\.example\.org/)
  })

  it('refuses a certificate of an unknown authority, and says what to do', async () => {
    await server.speakTls(ofUnknown, ca)
    for (const mode of ['sslmode=require', 'sslmode=no-verify', 'ssl=true'])
      expect(await reached(urlWith(mode))).toBe('TLS')
    for (const mode of ['require', 'verify-ca', 'verify-full'])
      expect(await reached(urlWith(`sslmode=${mode}&sslrootcert=${ca}`))).toMatch(/sslrootcert/)
    for (const mode of ['sslmode=verify-ca', 'sslmode=verify-full', 'sslrootcert=system'])
      expect(await reached(urlWith(mode))).toMatch(/sslrootcert/)
    expect(await reached(urlWith(`sslmode=verify-full&sslrootcert=${otherCa}`))).toBe('TLS')
    // As libpq: a handshake that fails is no reason for `prefer` to give up.
    expect(await reached(urlWith(`sslmode=prefer&sslrootcert=${ca}`))).toBe('plain')
  })

  it('is required except with allow and prefer, when the server has no TLS', async () => {
    await server.speakPlain()
    for (const mode of ['allow', 'prefer']) expect(await reached(urlWith(`sslmode=${mode}`))).toBe('plain')
    for (const mode of ['require', 'verify-ca', 'verify-full'])
      expect(await reached(urlWith(`sslmode=${mode}`))).toMatch(/does not support SSL/)
  })

  it('is used by allow where the server requires it, and left out by prefer where the server refuses it', async () => {
    await server.speakTls(forAddress, ca)
    await server.admit(TRUST.replace('host', 'hostssl'))
    expect(await reached(urlWith('sslmode=allow'))).toBe('TLS')
    expect(await reached(urlWith('sslmode=disable'))).toMatch(/no encryption/)
    await server.admit(TRUST.replace('host', 'hostnossl'))
    expect(await reached(urlWith('sslmode=prefer'))).toBe('plain')
    expect(await reached(urlWith('sslmode=require'))).toMatch(/pg_hba.conf/)
  })

  it.each(['allow', 'prefer'])('keeps the error of a wrong password with %s', async (mode) => {
    await server.query(
      "do $$ begin create role ada login password 'right'; exception when duplicate_object then end $$",
    )
    await server.speakTls(forAddress, ca)
    const url = urlWith(`sslmode=${mode}`, { user: 'ada:wrong' })
    expect(await reached(url)).toMatch(/password authentication failed.*Check the user name/)
    await server.speakPlain()
    expect(await reached(url)).toMatch(/password authentication failed/)
    expect(await reached(url.replace('wrong', 'right'))).toBe('plain')
  })

  it('is bound to the login by channel_binding, and sends no password where it cannot be bound', async () => {
    await server.query(
      "do $$ begin create role ada login password 'right'; exception when duplicate_object then end $$",
    )
    const ada = { user: 'ada:right' }
    await server.speakTls(forAddress, ca)
    for (const binding of ['disable', 'prefer', 'require'])
      expect(await reached(urlWith(`sslmode=require&channel_binding=${binding}`, ada))).toBe('TLS')
    expect(await reached(urlWith('sslmode=require&channel_binding=require'))).toMatch(/channel binding/)
    await server.speakPlain()
    expect(await reached(urlWith('sslmode=prefer&channel_binding=prefer', ada))).toBe('plain')
    expect(await reached(urlWith('sslmode=prefer&channel_binding=require', ada))).toMatch(/channel binding/)
    await server.admit(TRUST, 'host all ada 127.0.0.1/32 password')
    expect(await reached(urlWith('', ada))).toBe('plain')
    await using wire = await RecordingProxy.to(server.port)
    const url = new DatabaseURL(urlWith('channel_binding=require', ada)).replace({ port: wire.port })
    expect(await reached(url.href)).toMatch(/channel binding/)
    expect(wire.everything.includes('right')).toBe(false)
  })

  it('presents a client certificate', async () => {
    await server.query(
      "do $$ begin create role ada login password 'right'; exception when duplicate_object then end $$",
    )
    await server.speakTls(forAddress, ca)
    await server.admit(TRUST, 'hostssl all ada 127.0.0.1/32 cert')
    const mode = `sslmode=verify-full&sslrootcert=${ca}`
    const own = `sslcert=${client.cert}&sslkey=${client.key}`
    expect(await reached(urlWith(`${mode}&${own}`, { user: 'ada' }))).toBe('TLS')
    expect(await reached(urlWith(mode, { user: 'ada' }))).toMatch(/certificate/)
  })

  it.each([
    ['address', '127.0.0.1', () => forAddress],
    ['name', 'localhost', () => forName],
  ])(
    'encrypts cancel requests as well, by %s, and presents the client certificate in them',
    async (_what, host, identity) => {
      await server.speakTls(identity(), ca)
      await using wire = await RecordingProxy.to(server.port)
      const own = `sslcert=${client.cert}&sslkey=${client.key}`
      const url = urlWith(`sslmode=verify-full&sslrootcert=${ca}&${own}`, { host })
      await using database = new Database(url.replace(String(server.port), String(wire.port)))
      await database.connect()
      const slow = database.fetchVal('select pg_sleep(20)', {}, { timeoutMillis: 100 })
      await expect(slow).rejects.toThrow(/did not end within/)
      const running = "select from pg_stat_activity where query like 'select pg_sleep%' and state = 'active'"
      await waitFor(async () => (await server.query(running)).length === 0)
      expect(wire.connections).toBeGreaterThan(1)
      expect(wire.everything.includes(CANCEL_CODE)).toBe(false)
    },
  )

  it('is the same for the Knex command line', async () => {
    await server.speakPlain()
    const { default: knex } = await import('knex')
    for (const mode of ['prefer', 'allow', 'disable']) {
      const instance = knex(knexConfig(urlWith(`sslmode=${mode}`)))
      expect((await instance.raw<{ rows: unknown }>('select 1 as one')).rows).toEqual([{ one: 1 }])
      await instance.destroy()
    }
    await server.speakTls(forAddress, ca)
    await server.admit(TRUST.replace('host', 'hostssl'))
    const instance = knex(knexConfig(urlWith('sslmode=allow')))
    const { rows } = await instance.raw<{ rows: unknown }>(
      'select ssl from pg_stat_ssl where pid = pg_backend_pid()',
    )
    expect(rows).toEqual([{ ssl: true }])
    await instance.destroy()
  })
})

/** The TLS settings that pg gets for a URL. */
function tlsOf(parameters: string): unknown {
  const { connection } = knexConfig(`postgresql://app@h/d${parameters}`)
  return (connection as { ssl?: unknown }).ssl
}

describe('sslmode in a URL', () => {
  it('may be missing, and leaves TLS to the driver', () => {
    expect(tlsOf('')).toBeUndefined()
  })

  it('require turns TLS on without verification', () => {
    expect(tlsOf('?sslmode=require')).toMatchObject({ rejectUnauthorized: false })
  })

  it('verify-full verifies the certificate and the host name', () => {
    const tls = tlsOf('?sslmode=verify-full')
    expect(tls).toMatchObject({ rejectUnauthorized: true })
    expect(tls).not.toHaveProperty('checkServerIdentity')
  })

  it('verify-ca verifies the certificate for any host name', () => {
    expect(tlsOf('?sslmode=verify-ca')).toMatchObject({ rejectUnauthorized: true })
    expect(tlsOf('?sslmode=verify-ca')).toHaveProperty('checkServerIdentity')
  })

  it('disable turns TLS off', () => {
    expect(tlsOf('?sslmode=disable')).toBe(false)
  })
})
