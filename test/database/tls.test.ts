/** Over TLS: who is there is asked as sslmode says, and a statement can be cancelled as without. */
import { Database, QueryTimeoutError } from '../../src/database'
import { requestCancel } from '../../src/database/backend/postgres-cancel'
import { standingCheck } from '../support/standing-check'
import { startTlsPostgres, type TlsPostgres } from '../support/tls-postgres'
import { waitFor } from '../support/wait-for'
import { failure, runScript } from './support'

describe('a connection over TLS', () => {
  standingCheck()
  let server: TlsPostgres
  beforeAll(async () => {
    server = await startTlsPostgres()
  })
  afterAll(() => server.stop())

  const encrypted = 'select ssl from pg_stat_ssl where pid = pg_backend_pid()'
  const modes = (): string[] => [
    'sslmode=require',
    ...['verify-ca', 'verify-full'].map((mode) => `sslmode=${mode}&sslrootcert=${server.certificate}`),
  ]

  it.each(['127.0.0.1', 'localhost'])(
    'to %s is encrypted, and its statements can be cancelled',
    async (host) => {
      const warnings: string[] = []
      const warn = ({ message }: Error): number => warnings.push(message)
      process.on('warning', warn)
      for (const mode of modes()) {
        const url = `${server.url.replace('127.0.0.1', host)}?${mode}`
        await using database = new Database(url, { pool: { size: 1, maxOverflow: 0 } })
        await database.connect()
        expect(await database.fetchVal(encrypted)).toBe(true)
        const late = failure(database.fetchVal('select pg_sleep(60)', {}, { timeoutMillis: 50 }))
        expect(await late).toBeInstanceOf(QueryTimeoutError)
        expect(await database.fetchVal('select 1')).toBe(1)
      }
      process.off('warning', warn)
      expect(warnings).toEqual([])
    },
  )

  it('is cancelled by a request that is encrypted too, to a server whose name is asked for', async () => {
    for (const mode of modes()) {
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

  it('is cancelled without a warning of Node, also where the host is an address and no name', async () => {
    const { stdout, stderr } = await runScript(`
      const { Database } = require('./src/database')
      const database = new Database('${server.url}?sslmode=require')
      database.connect()
        .then(() => database.fetchVal('select pg_sleep(60)', {}, { timeoutMillis: 50 }))
        .catch((error) => console.log(error.code))
        .finally(() => database.disconnect())`)
    expect({ stdout, stderr }).toEqual({ stdout: 'QUERY_TIMEOUT\n', stderr: '' })
  })

  it('is not made to a server that cannot show who it is', async () => {
    const database = new Database(`${server.url}?sslmode=verify-full`)
    expect((await failure(database.connect())).message).toMatch(/self.signed certificate/)
  })
})
