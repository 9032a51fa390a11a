/** The options of a Database and the parameters of its URL: defaults, precedence, and which values are refused. */
import {
  ConfigurationError,
  Database,
  type DatabaseOptions,
  DatabaseURL,
  knexConfig,
  type PoolOptions,
} from '../../src/database'
import { type BackendOptions, resolveSettings } from '../../src/database/options'
import { failure } from './support'
import { eachDatabase } from '../support/each-database'

const POSTGRES = 'postgresql://app:hunter2@h/folder/shop'
const settled = (url: string, options: BackendOptions = {}): ReturnType<typeof resolveSettings> =>
  resolveSettings(new DatabaseURL(url), options)
const pool = (url: string, options: PoolOptions = {}): PoolOptions => settled(url, { pool: options }).pool
/** The message by which options are refused. They are untyped, as from JavaScript or from a file. */
const refused = (options: unknown, url = POSTGRES): string => {
  try {
    return `accepted: ${new Database(url, options as DatabaseOptions).name}`
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error
    return error.message
  }
}

describe('the default options', () => {
  it('are the documented ones', () => {
    expect(settled(POSTGRES)).toEqual({
      name: 'shop',
      pool: {
        size: 5,
        maxOverflow: 10,
        acquireTimeoutMillis: 30_000,
        maxLifetimeMillis: 1_800_000,
        idleTimeoutMillis: 600_000,
        validateAfterIdleMillis: 500,
        min: 0,
        keepaliveMillis: 30_000,
        leakThresholdMillis: 0,
        leakTimeoutMillis: 0,
        maxWaiters: Infinity,
      },
      statementTimeoutMillis: 60_000,
      connectTimeoutMillis: 15_000,
      knex: {},
    })
  })

  it('apply when an option is undefined', () => {
    const options = {
      statementTimeoutMillis: undefined,
      pool: { size: undefined },
    } as unknown as BackendOptions // as from JavaScript
    expect(settled(POSTGRES, options)).toMatchObject({ statementTimeoutMillis: 60_000, pool: { size: 5 } })
  })

  it('name a SQLite database after its file', () => {
    expect(settled('sqlite:////var/lib/blog.db').name).toBe('blog.db')
    expect(settled('sqlite://').name).toBe(':memory:')
    expect(settled(POSTGRES, { name: 'orders' }).name).toBe('orders')
  })

  it('give a database in memory one connection that is never retired', () => {
    expect(settled('sqlite://').pool).toMatchObject({
      size: 1,
      maxOverflow: 0,
      maxLifetimeMillis: Infinity,
      idleTimeoutMillis: Infinity,
    })
  })

  it('turn the statement timeout off when it is 0', () => {
    expect(settled(POSTGRES, { statementTimeoutMillis: 0 }).statementTimeoutMillis).toBe(Infinity)
  })
})

describe('an unknown option', () => {
  it('is refused with its name and the known names', () => {
    expect(refused({ poolSize: 5 })).toMatch(/'poolSize'.*statementTimeoutMillis.*afterConnect/)
    expect(refused({ pool: { max: 5 } })).toMatch(/pool.*'max'.*size, maxOverflow/)
  })

  it('is refused whatever its value is', () => {
    expect(refused({ statementTimeout: undefined })).toContain("'statementTimeout'")
  })

  it.each(['constructor', 'toString', '__proto__x'])('is refused when it is called %s', (name) => {
    expect(refused({ [name]: 1 })).toContain(`'${name}'`)
    expect(refused({}, `sqlite:///x.db?${name}=1`)).toContain(`'${name}'`)
  })

  it('in the URL is refused with its name and the known names', () => {
    expect(refused({}, 'postgresql://h/d?poolsize=5')).toMatch(/'poolsize'.*pool_size.*sslmode/)
    expect(refused({}, 'sqlite:///d?sslmode=require')).toMatch(/'sslmode'.*pool_size/)
  })
})

describe('an invalid option', () => {
  it.each([
    [{ pool: { size: 0 } }, 'pool.size'],
    [{ pool: { size: 1.5 } }, 'pool.size'],
    [{ pool: { size: '5' } }, 'pool.size'],
    [{ pool: { size: null } }, 'pool.size'],
    [{ pool: { size: Infinity } }, 'pool.size'],
    [{ pool: { maxOverflow: -1 } }, 'pool.maxOverflow'],
    [{ pool: { acquireTimeoutMillis: 0 } }, 'pool.acquireTimeoutMillis'],
    [{ pool: { acquireTimeoutMillis: NaN } }, 'pool.acquireTimeoutMillis'],
    [{ pool: { maxLifetimeMillis: -5 } }, 'pool.maxLifetimeMillis'],
    [{ pool: { idleTimeoutMillis: true } }, 'pool.idleTimeoutMillis'],
    [{ pool: { validateAfterIdleMillis: true } }, 'pool.validateAfterIdleMillis'],
    [{ statementTimeoutMillis: -1 }, 'statementTimeoutMillis'],
    [{ statementTimeoutMillis: '60000' }, 'statementTimeoutMillis'],
    [{ connectTimeoutMillis: 0 }, 'connectTimeoutMillis'],
    [{ connectTimeoutMillis: NaN }, 'connectTimeoutMillis'],
  ])('is refused with the name of the option: %j', (options, name) => {
    expect(refused(options)).toMatch(new RegExp(`^${name.replace('.', '\\.')} is a .*number from`))
  })

  it('never shows the password', () => {
    expect(refused({ pool: { size: -1 } })).not.toContain('hunter2')
  })

  it('is not false for validateAfterIdleMillis, which turns validation off', () => {
    expect(pool(POSTGRES, { validateAfterIdleMillis: false }).validateAfterIdleMillis).toBe(false)
  })

  it('is a pool size above 1 for a database in memory', () => {
    expect(refused({ pool: { size: 2 } }, 'sqlite://')).toMatch(/in memory.*size 1/)
    expect(refused({ pool: { maxOverflow: 1 } }, 'sqlite:///:memory:')).toMatch(/in memory/)
    expect(refused({}, 'sqlite://?pool_size=5')).toMatch(/in memory/)
    expect(refused({ pool: { size: 1, maxOverflow: 0 } }, 'sqlite://')).toMatch(/^accepted/)
  })

  it('is a group of options that is not an object', () => {
    for (const given of [{ pool: 5 }, { pool: [] }, { knex: () => ({}) }, { knex: { connection: [] } }])
      expect(refused(given)).toMatch(/has its options in an object, got (a number|an array|a function)/)
  })

  it('is a Knex option that millpond sets itself', () => {
    for (const name of ['client', 'dialect', 'pool', 'connectionPool', 'acquireConnectionTimeout']) {
      expect(refused({ knex: { [name]: {} } })).toMatch(`'${name}'`)
    }
  })

  it('is a Knex or driver option that would be ignored', () => {
    const knex = (given: object): string => refused({ knex: given })
    expect(knex({ searchPaths: ['tenant'] })).toMatch(/no option 'searchPaths'.*searchPath,/)
    expect(knex({ connection: { aplication_name: 'x' } })).toMatch(
      /no option 'aplication_name'.*application_name,/,
    )
    expect(knex({ connection: 'postgresql://other/d' })).toMatch(/connection is an object.*got a string/)
    expect(knex({ connection: () => ({ host: 'other' }) })).toMatch(/connection is an object.*got a function/)
    for (const name of ['filename', 'flags'])
      expect(refused({ knex: { connection: { [name]: [] } } }, 'sqlite:///x.db')).toMatch(
        `'${name}'. There are none`,
      )
    expect(knex({ searchPath: ['tenant'], debug: false, connection: { application_name: 'x' } })).toMatch(
      /^accepted/,
    )
    expect(knex({ connection: undefined, postProcessResponse: (rows: unknown) => rows })).toMatch(/^accepted/)
  })

  it('is an unknown sslmode, or TLS files that contradict the sslmode', () => {
    expect(refused({}, 'postgresql://h/d?sslrootcert=/ca.pem')).toMatch(/nothing without sslmode/)
    expect(refused({}, 'postgresql://h/d?sslmode=require&sslrootcert=system')).toMatch(/verify-full/)
    expect(refused({}, 'postgresql://h/d?sslmode=require&sslcert=/cert.pem')).toMatch(/belong together/)
    expect(refused({}, 'postgresql://h/d?sslmode=verify-ca&sslrootcert=/not/there')).toMatch(/cannot be read/)
    expect(refused({}, 'postgresql://h/d?sslrootcert=system')).toMatch(/^accepted/)
    for (const mode of ['disable', 'allow', 'prefer', 'require', 'verify-ca'])
      expect(refused({}, `postgresql://h/d?sslmode=${mode}`)).toMatch(/^accepted/)
    expect(refused({}, 'postgresql://h/d?sslmode=on')).toMatch(/verify-full/)
    expect(refused({}, 'postgresql://h/d?channel_binding=on')).toMatch(/disable, prefer, require, got 'on'/)
    expect(refused({}, 'postgresql://h/d?sslmode=verify-full')).toMatch(/^accepted/)
  })
})

describe('URL parameters', () => {
  it.each([
    ['sslaccept=strict', 'Write sslmode='],
    ['currentSchema=shop', 'Write search_path'],
    ['pool=5', 'Write max_size'],
    ['statement_cache_size=0', 'preparedStatements'],
    ['keepalives_count=3', 'Leave it out: Node has no such setting'],
    ['service=shop', 'pg reads no pg_service.conf'],
    ['password=hunter2', 'Write it before the host'],
    ['constructor=1', 'Known ones are pool_size,'],
  ])('of other tools are refused with the millpond spelling: %s', (parameter, advice) => {
    const [name] = parameter.split('=')
    expect(refused({}, `postgresql://h/d?${parameter}`)).toContain(`unknown parameter '${name}'. `)
    expect(refused({}, `postgresql://h/d?${parameter}`)).toContain(advice)
  })

  it('set the connect timeout and server settings', () => {
    const connection = (query: string): unknown => knexConfig(`postgresql://h/d?${query}`).connection
    expect(connection('connect_timeout=3')).toMatchObject({ connectionTimeoutMillis: 3000 })
    expect(connection('connect_timeout=15')).toMatchObject({ connectionTimeoutMillis: 15_000 })
    expect(connection('connect_timeout=0&pool_timeout=20')).toMatchObject({ connectionTimeoutMillis: 20_000 })
    expect(connection('options=-c%20work_mem%3D8MB')).toMatchObject({ options: '-c work_mem=8MB' })
    expect(refused({}, 'postgresql://h/d?connect_timeout=1s')).toMatch(/whole number of seconds, got '1s'/)
  })

  it('have the names and the seconds of SQLAlchemy', () => {
    const url = 'postgresql://h/d?pool_size=3&max_overflow=4&pool_timeout=2.5&pool_recycle=60'
    expect(pool(url)).toMatchObject({
      size: 3,
      maxOverflow: 4,
      acquireTimeoutMillis: 2500,
      maxLifetimeMillis: 60_000,
    })
  })

  it('accept max_size, as the Python library does, which allows no overflow', () => {
    expect(pool('postgresql://h/d?max_size=7')).toMatchObject({ size: 7, maxOverflow: 0 })
  })

  it('are overridden by options', () => {
    const url = 'postgresql://h/d?pool_size=3&pool_timeout=2'
    expect(pool(url, { size: 9 })).toMatchObject({ size: 9, acquireTimeoutMillis: 2000 })
  })

  it.each(['x', '', '-1', '1e3', '0x10', ' '])('refuse %j as a number', (value) => {
    expect(refused({}, `postgresql://h/d?pool_size=${value}`)).toMatch(/'pool_size'/)
  })

  it('are validated like options', () => {
    expect(refused({}, 'postgresql://h/d?pool_size=0')).toMatch(/^pool\.size/)
    expect(refused({}, 'postgresql://h/d?pool_size=1.5')).toMatch(/^pool\.size/)
  })
})

eachDatabase('the options of a Database', (context) => {
  const open = (options: DatabaseOptions = {}): Promise<Database> =>
    context.open({ pool: { size: 1, maxOverflow: 0 }, ...options })

  it('accept fractional and infinite times', async () => {
    for (const millis of [1000.5, Infinity]) {
      const pool = { acquireTimeoutMillis: millis, idleTimeoutMillis: millis, maxLifetimeMillis: millis }
      const database = await open({ pool })
      expect(await database.fetchVal('select 1')).toBe(1)
    }
  })

  it('refuse a time limit, a signal, a callback or a name of the wrong type', async () => {
    const database = await open()
    for (const options of [{ timeoutMillis: NaN }, { timeoutMillis: '100' }, { signal: {} }]) {
      const refused = failure(database.fetchVal('select 1', {}, options as object)) // as from JavaScript
      expect(await refused).toBeInstanceOf(ConfigurationError)
    }
    for (const options of [{ afterConnect: 'x' }, { name: 5 }]) {
      expect(() => new Database(context.url, options as object)).toThrow(ConfigurationError)
    }
    expect(database.stats().used).toBe(0)
  })

  it('refuse pool options that contradict each other', () => {
    const wrong = (pool: object): (() => Database) => {
      return () => new Database(context.url, { pool })
    }
    expect(wrong({ min: 6 })).toThrow(ConfigurationError)
    expect(wrong({ min: 6 })).toThrow('pool.min is at most pool.size, which is 5, got 6')
    expect(wrong({ leakThresholdMillis: 100, leakTimeoutMillis: 50 })).toThrow(
      /leakTimeoutMillis is at least/,
    )
    expect(wrong({ maxWaiters: -1 })).toThrow(/maxWaiters/)
    expect(wrong({ keepaliveMillis: 'often' })).toThrow(/keepaliveMillis/)
  })
})
