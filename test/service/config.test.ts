/** The settings: validated together, typed, frozen, each with a default. */
import path from 'node:path'
import { databaseUrls, EnvironmentError, readConfig } from '../../src/service/config'

const DATA = path.resolve(__dirname, '../../data')

it('the settings default to SQLite files in the project, migrated and seeded, on localhost', () => {
  const config = readConfig({})
  expect(config).toMatchObject({
    host: '127.0.0.1',
    port: 3000,
    admin: false,
    logLevel: 'info',
    docs: true,
    shutdownTimeoutMillis: 30_000,
    readinessGraceMillis: 0,
    requestTimeoutMillis: 60_000,
    main: { migrates: true, seeds: true, options: { name: 'main', pool: {} } },
    products: { migrates: true, seeds: true, options: { name: 'products' } },
  })
  expect(databaseUrls({})).toEqual({ main: config.main.url, products: config.products.url })
  expect(decodeURIComponent(config.main.url)).toBe(`sqlite:///${DATA}/main.sqlite`)
  expect(decodeURIComponent(config.products.url)).toBe(`sqlite:///${DATA}/products.sqlite`)
})

it('the settings are read from every variable, times in seconds', () => {
  const config = readConfig({
    DATABASE_URL: 'postgresql://app:secret@db/shop',
    PRODUCTS_DATABASE_URL: 'sqlite:///:memory:',
    MIGRATE_ON_START: 'false',
    HOST: '0.0.0.0',
    PORT: '0',
    ADMIN_PORT: '3001',
    ADMIN_HOST: '127.0.0.2',
    LOG_LEVEL: 'silent',
    DOCS: 'false',
    SHUTDOWN_TIMEOUT: '1.5',
    READINESS_GRACE: '1',
    REQUEST_TIMEOUT: '2',
    DATABASE_POOL_SIZE: '3',
    DATABASE_MAX_OVERFLOW: '0',
    DATABASE_POOL_TIMEOUT: '4',
    DATABASE_POOL_RECYCLE: '5',
    DATABASE_CONNECT_TIMEOUT: '6',
    DATABASE_STATEMENT_TIMEOUT: '0',
  })
  expect(config).toEqual({
    host: '0.0.0.0',
    port: 0,
    admin: { port: 3001, host: '127.0.0.2' },
    logLevel: 'silent',
    docs: false,
    shutdownTimeoutMillis: 1500,
    readinessGraceMillis: 1000,
    requestTimeoutMillis: 2000,
    main: {
      url: 'postgresql://app:secret@db/shop',
      migrates: false,
      seeds: false,
      options: {
        name: 'main',
        pool: { size: 3, maxOverflow: 0, acquireTimeoutMillis: 4000, maxLifetimeMillis: 5000 },
        connectTimeoutMillis: 6000,
        statementTimeoutMillis: 0,
      },
    },
    products: {
      url: 'sqlite:///:memory:',
      migrates: false,
      seeds: true,
      options: {
        name: 'products',
        pool: { acquireTimeoutMillis: 4000 },
        connectTimeoutMillis: 6000,
        statementTimeoutMillis: 0,
      },
    },
  })
})

it('the settings migrate a server only when asked to, and never seed it', () => {
  const DATABASE_URL = 'postgresql://db/shop'
  expect(readConfig({ DATABASE_URL }).main).toMatchObject({ migrates: false, seeds: false })
  const told = readConfig({ DATABASE_URL, MIGRATE_ON_START: 'true' })
  expect(told.main).toMatchObject({ migrates: true, seeds: false })
})

it('the settings treat an empty variable as missing', () => {
  expect(readConfig({ PORT: '', DATABASE_URL: '' })).toEqual(readConfig({}))
  expect(databaseUrls({ DATABASE_URL: '' })).toEqual(databaseUrls({}))
})

it('the settings report every mistake at once', () => {
  const read = (): unknown =>
    readConfig({
      PORT: '3000x',
      SHUTDOWN_TIMEOUT: '30s',
      MIGRATE_ON_START: 'yes',
      DATABASE_POOL_SIZE: '0',
      DATABASE_URL: 'oracle://db',
    })
  expect(read).toThrow(EnvironmentError)
  const { mistakes } = catchError(read) as EnvironmentError
  expect(mistakes.toSorted()).toEqual([
    'DATABASE_POOL_SIZE must be a whole number from 1 to 10000',
    expect.stringMatching(/^DATABASE_URL is not usable: .*'oracle:\/\/'/),
    'MIGRATE_ON_START must be true or false',
    'PORT must be a whole number from 0 to 65535',
    'SHUTDOWN_TIMEOUT must be a number of seconds',
  ])
})

it('the settings refuse a time that is longer than a timer can be', () => {
  const { mistakes } = catchError(() => readConfig({ SHUTDOWN_TIMEOUT: '2147484' })) as EnvironmentError
  expect(mistakes).toEqual(['SHUTDOWN_TIMEOUT must be 2147483 seconds or less'])
  expect(readConfig({ SHUTDOWN_TIMEOUT: '2147483' }).shutdownTimeoutMillis).toBe(2_147_483_000)
})

it('the settings refuse a grace that leaves no time to shut down', () => {
  const { mistakes } = catchError(() =>
    readConfig({ READINESS_GRACE: '30', SHUTDOWN_TIMEOUT: '30' }),
  ) as EnvironmentError
  expect(mistakes).toEqual(['READINESS_GRACE must be shorter than SHUTDOWN_TIMEOUT, which it is part of'])
})

it('the settings are frozen', () => {
  const config = readConfig({})
  expect([config, config.main, config.main.options, config.main.options.pool].every(Object.isFrozen)).toBe(
    true,
  )
})

function catchError(work: () => unknown): unknown {
  try {
    return work()
  } catch (error) {
    return error
  }
}

it('the settings open the admin listener by its port, on localhost by default', () => {
  expect(readConfig({ ADMIN_PORT: '3001' }).admin).toEqual({ port: 3001, host: '127.0.0.1' })
  expect(readConfig({ ADMIN_PORT: '0', ADMIN_HOST: '0.0.0.0' }).admin).toEqual({ port: 0, host: '0.0.0.0' })
  expect(readConfig({ ADMIN_HOST: '0.0.0.0' }).admin).toBe(false)
  expect(() => readConfig({ ADMIN_PORT: '65536' })).toThrow('ADMIN_PORT must be a whole number')
})
