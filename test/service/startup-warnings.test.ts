/** Warnings at the start: insecure database connections and misspelt settings. */
import { VARIABLES } from '../../src/service/config'
import { unsafeConnectionWarnings, misspeltSettingWarnings } from '../../src/service/startup-warnings'
import { eachDatabase } from '../support/each-database'
import { freePort } from '../support/free-port'
import { ServiceProcess } from './support/service-process'

const safe = { isSuperuser: false, isRemote: false, isEncrypted: false }

describe('a database', () => {
  it('causes no warning when it is local or uses TLS, with an ordinary user', () => {
    expect(unsafeConnectionWarnings('main', safe)).toEqual([])
    expect(unsafeConnectionWarnings('main', { ...safe, isEncrypted: true })).toEqual([])
    expect(unsafeConnectionWarnings('main', { ...safe, isRemote: true, isEncrypted: true })).toEqual([])
  })

  it('causes one warning for a superuser, and one for another host without TLS', () => {
    const lines = unsafeConnectionWarnings('main', { isSuperuser: true, isRemote: true, isEncrypted: false })
    expect(lines).toEqual([
      expect.stringMatching(/^database main: its user is a superuser\./),
      expect.stringMatching(/^database main: .*not encrypted.*sslmode=verify-full/),
    ])
    expect(lines.join('')).not.toContain('\n')
  })
})

describe('an environment variable', () => {
  const misspelt = (...names: string[]): string[] => misspeltSettingWarnings(names, VARIABLES)

  it.each([
    ['DATABASE_POOLSIZE', 'DATABASE_POOL_SIZE'],
    ['DATABASE_POOL_SZIE', 'DATABASE_POOL_SIZE'],
    ['DATABASE_STATEMENT_TIMEOUTS', 'DATABASE_STATEMENT_TIMEOUT'],
    ['PRODUCTS_DATABASE_URI', 'PRODUCTS_DATABASE_URL'],
    ['MIGRATE_AT_START', 'MIGRATE_ON_START'],
    ['READINESS_GRAC', 'READINESS_GRACE'],
    ['SHUTDOWN_TIME_OUT', 'SHUTDOWN_TIMEOUT'],
    ['LOG_LEVL', 'LOG_LEVEL'],
  ])('named %s causes the suggestion %s', (name, meant) => {
    expect(misspelt(name)).toEqual([`${name} is no setting, and is ignored. ${meant} is one.`])
  })

  it('that is a setting, or resembles none, causes no warning', () => {
    expect(misspelt(...VARIABLES)).toEqual([])
    expect(misspelt('DATABASE_HOST', 'DATABASE_PASSWORD', 'LOG_FORMAT', 'PATH', 'HOME', 'PORTS', '')).toEqual(
      [],
    )
  })
})

eachDatabase('the process', (context) => {
  it('warns about a superuser and a misspelt setting, without their values, in one line each, and starts', async () => {
    await using service = new ServiceProcess({
      DATABASE_URL: context.url,
      PRODUCTS_DATABASE_URL: 'sqlite:///:memory:',
      MIGRATE_ON_START: 'true',
      PORT: String(await freePort()),
      DATABASE_POOL_SZIE: 'secret',
    })
    await service.listening()
    const warnings = service.messages.filter((message) => /superuser|no setting/.test(message))
    const superuser = [expect.stringMatching(/^database main: its user is a superuser/) as string]
    expect(warnings).toEqual([
      'DATABASE_POOL_SZIE is no setting, and is ignored. DATABASE_POOL_SIZE is one.',
      ...(context.dialect === 'postgresql' ? superuser : []),
    ])
    expect(service.everything).not.toContain('secret')
    service.kill('SIGTERM')
    expect(await service.ended()).toBe(0)
  })
})
