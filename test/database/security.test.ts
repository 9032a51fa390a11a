/** database.security(): whether the database user is a superuser, and whether the connection is remote and encrypted. */
import { Database } from '../../src/database'
import { isRemoteAddress } from '../../src/database/postgres/dialect'
import { Certificates } from '../support/certificates'
import { eachDatabase } from '../support/each-database'
import { standingCheck } from '../support/standing-check'
import { TlsPostgres } from '../support/tls-postgres'

eachDatabase('database.security()', (context) => {
  it('reports a superuser and a local connection without TLS', async () => {
    const database = await context.open()
    const isSuperuser = context.dialect === 'postgresql'
    const local = { isRemote: false, isEncrypted: false }
    expect(await database.security()).toEqual({ isSuperuser, ...local })
    await database.transaction(async () => {
      expect(await database.security()).toEqual({ isSuperuser, ...local })
    })
  })
})

describe('database.security() on PostgreSQL', () => {
  standingCheck()

  it('reports an ordinary user, and TLS', async () => {
    await using certificates = await Certificates.make()
    const ca = await certificates.authority('authority')
    await using server = await TlsPostgres.start()
    await server.speakTls(await certificates.signed('authority', 'server'), ca)
    await server.query('create role ada login')
    const url = server.url.replace('postgres@', 'ada@')
    for (const [mode, isEncrypted] of [
      ['disable', false],
      ['require', true],
    ] as const) {
      await using database = new Database(`${url}?sslmode=${mode}`)
      await database.connect()
      expect(await database.security()).toEqual({ isSuperuser: false, isRemote: false, isEncrypted })
    }
  })

  it.each(['127.0.0.1', '127.8.9.10', '::1', '::ffff:127.0.0.1', undefined])(
    'treats the address %s as local',
    (address) => {
      expect(isRemoteAddress(address)).toBe(false)
    },
  )

  it.each(['10.0.0.1', '128.0.0.1', '192.168.1.5', '203.0.113.7', '::2', 'fe80::1', '::ffff:10.0.0.1'])(
    'treats the address %s as remote',
    (address) => {
      expect(isRemoteAddress(address)).toBe(true)
    },
  )
})
