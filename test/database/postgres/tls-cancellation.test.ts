/** Cancel requests over TLS: encrypted, and verified like the connection itself. */
import { Database, QueryTimeoutError } from '../../../src/database'
import { requestCancel } from '../../../src/database/postgres/cancel-request'
import { Certificates } from '../../support/certificates'
import { standingCheck } from '../../support/standing-check'
import { TlsPostgres } from '../../support/tls-postgres'
import { waitFor } from '../../support/wait-for'
import { failure, runScript } from '../support'

describe('a connection over TLS', () => {
  standingCheck()
  let server: TlsPostgres
  let certificates: Certificates
  let modes: string[]

  beforeAll(async () => {
    certificates = await Certificates.make()
    const ca = await certificates.authority('authority')
    const names = [
      { type: 'dns', value: 'localhost' },
      { type: 'ip', value: '127.0.0.1' },
    ] as const
    server = await TlsPostgres.start()
    await server.speakTls(await certificates.signed('authority', 'server', [...names]), ca)
    modes = [
      'sslmode=require',
      `sslmode=verify-ca&sslrootcert=${ca}`,
      `sslmode=verify-full&sslrootcert=${ca}`,
    ]
  })
  afterAll(async () => {
    await server[Symbol.asyncDispose]()
    await certificates[Symbol.asyncDispose]()
  })

  it.each(['127.0.0.1', 'localhost'])(
    'to %s is encrypted, and its statements can be cancelled',
    async (host) => {
      const warnings: string[] = []
      const warn = ({ message }: Error): number => warnings.push(message)
      process.on('warning', warn)
      for (const mode of modes) {
        const url = `${server.url.replace('127.0.0.1', host)}?${mode}`
        await using database = new Database(url, { pool: { size: 1, maxOverflow: 0 } })
        await database.connect()
        const encrypted = 'select ssl from pg_stat_ssl where pid = pg_backend_pid()'
        expect(await database.fetchVal(encrypted)).toBe(true)
        const late = failure(database.fetchVal('select pg_sleep(60)', {}, { timeoutMillis: 50 }))
        expect(await late).toBeInstanceOf(QueryTimeoutError)
        expect(await database.fetchVal('select 1')).toBe(1)
      }
      process.off('warning', warn)
      expect(warnings).toEqual([])
    },
  )

  it('sends encrypted cancel requests, and verifies the host name in them', async () => {
    for (const mode of modes) {
      await using database = new Database(`${server.url}?${mode}`)
      await database.connect()
      await using connection = await database.acquire()
      const slept = failure(connection.fetchVal('select pg_sleep(60)'))
      const asleep =
        "select count(*)::integer from pg_stat_activity where query like '%sleep(60)' and state = 'active'"
      await waitFor(async () => (await database.fetchVal(asleep)) === 1, { what: 'the statement to arrive' })
      await requestCancel(connection.raw as never)
      expect((await slept).message).toMatch(/cancelled by the server/)
    }
  })

  it('causes no warning of Node by a cancel request to an address', async () => {
    const { stdout, stderr } = await runScript(`
      const { Database } = require('./src/database')
      const database = new Database('${server.url}?sslmode=require')
      database.connect()
        .then(() => database.fetchVal('select pg_sleep(60)', {}, { timeoutMillis: 50 }))
        .catch((error) => console.log(error.code))
        .finally(() => database.disconnect())`)
    expect({ stdout, stderr }).toEqual({ stdout: 'QUERY_TIMEOUT\n', stderr: '' })
  })
})
