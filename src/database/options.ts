/** Every option of a Database: its default, its check, and what the URL may say about it. */
import { inspect } from 'node:util'
import type { Knex } from 'knex'
import { ConfigurationError } from './errors'
import type { DatabaseURL } from './url'

/** The pool of a Database. All times are milliseconds. */
export interface PoolOptions {
  /** Connections that are kept open once they were needed. Default 5. In memory, SQLite has exactly 1. */
  readonly size?: number
  /** Extra ones under load, closed when they come back. Default 10. */
  readonly maxOverflow?: number
  /** Connections opened ahead of demand and replaced when they are lost; at most `size`. Default 0. */
  readonly min?: number
  /** How long a query waits for a connection before it fails with PoolTimeoutError. Default 30 000. */
  readonly acquireTimeoutMillis?: number
  /** A connection older than this is replaced, up to a tenth earlier so that they do not all go at once. Default 1 800 000. */
  readonly maxLifetimeMillis?: number
  /** A connection that was not used for this long is closed. Default 600 000. */
  readonly idleTimeoutMillis?: number
  /** A connection idle for this long is pinged before it is lent out. Default 500; false never pings. */
  readonly validateAfterIdleMillis?: number | false
  /** An idle connection is pinged this often, so that nobody on the way forgets it. Default 30 000; 0 turns it off. */
  readonly keepaliveMillis?: number
  /** A connection that is out for longer than this is reported once, with the place where it was taken. Default 0: off. */
  readonly leakThresholdMillis?: number
  /** … and one out for longer than this is taken back, its transaction rolled back. Default 0: off. */
  readonly leakTimeoutMillis?: number
  /** How many may wait for a connection; whoever comes then fails at once. Default Infinity. */
  readonly maxWaiters?: number
}

/** What a Database takes, apart from its `afterConnect`, which needs a Connection to work on. */
export interface BackendOptions {
  /** What it is called in logs and errors. Default: the database's name in the URL. */
  readonly name?: string
  readonly pool?: PoolOptions
  /** Default 60 000; 0 turns it off. */
  readonly statementTimeoutMillis?: number
  /**
   * How many prepared statements each connection to PostgreSQL keeps; true: 256; false or 0: none. Default: 256, or none
   * behind a pooler such as PgBouncer, where the next statement may reach another server process.
   */
  readonly preparedStatements?: boolean | number
  /** For the whole of connect(), retries included. Default 15 000. */
  readonly connectTimeoutMillis?: number
  /** Merged into the Knex configuration: the way out for what has no option here. */
  readonly knex?: Partial<Knex.Config>
}

export interface Settings {
  readonly name: string
  readonly pool: Required<PoolOptions>
  readonly statementTimeoutMillis: number
  readonly connectTimeoutMillis: number
  /** At most so many for each connection; undefined: to be decided by what is at the other end of it. */
  readonly preparedStatements: number | undefined
  readonly knex: Partial<Knex.Config>
}

const POOL_DEFAULTS: Required<PoolOptions> = {
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
}

const DEFAULTS = { statementTimeoutMillis: 60_000, connectTimeoutMillis: 15_000 }

const KNOWN = [
  'name',
  'pool',
  'statementTimeoutMillis',
  'connectTimeoutMillis',
  'preparedStatements',
  'afterConnect',
  'forceRollback',
  'knex',
] as const

/** The smallest value that makes sense for each of the pool's numbers. */
const POOL_MINIMUM: Readonly<Record<keyof PoolOptions, number>> = {
  size: 1,
  maxOverflow: 0,
  acquireTimeoutMillis: 1,
  maxLifetimeMillis: 1,
  idleTimeoutMillis: 1,
  validateAfterIdleMillis: 0,
  min: 0,
  keepaliveMillis: 0,
  leakThresholdMillis: 0,
  leakTimeoutMillis: 0,
  maxWaiters: 0,
}

/** Those that count connections. */
const WHOLE: readonly string[] = ['size', 'maxOverflow', 'min']

/** What a pool is called in a URL: SQLAlchemy's names, with its seconds, and those of `databases`. */
const URL_POOL: Readonly<Record<string, (value: number) => PoolOptions>> = {
  pool_size: (size) => ({ size }),
  max_overflow: (maxOverflow) => ({ maxOverflow }),
  pool_timeout: (seconds) => ({ acquireTimeoutMillis: seconds * 1000 }),
  pool_recycle: (seconds) => ({ maxLifetimeMillis: seconds * 1000 }),
  min_size: (min) => ({ min }),
  max_size: (size) => ({ size, maxOverflow: 0 }),
}

/** The URL parameters that the driver understands, by dialect; the dialect itself gives them their meaning. */
const URL_DRIVER: Readonly<Record<string, readonly string[]>> = {
  postgresql: [
    'sslmode', 'sslrootcert', 'sslcert', 'sslkey', 'channel_binding', 'application_name', 'host', 'connect_timeout', 'options',
  ],
  sqlite: ['mode', 'immutable'],
} // prettier-ignore

/** Parameters of other tools that hosts put into a URL, and what to write instead. */
const URL_FOREIGN: Readonly<Record<string, string>> = {
  ssl: 'Write sslmode=verify-full, or sslmode=require, which does not ask who is there.',
  sslaccept: 'Write sslmode=verify-full, or sslmode=require, which does not ask who is there.',
  uselibpqcompat: 'Leave it out: sslmode means what it means to libpq.',
  schema: 'Write options=-c%20search_path%3Dname, or options.knex.searchPath.',
  pgbouncer: 'Leave it out: a pooler is noticed, and nothing is prepared behind it.',
  statement_cache_size: 'Set options.preparedStatements.',
  connection_limit: 'Write max_size.',
}

/** What Knex may be told. */
const KNEX = [
  'asyncStackTraces', 'compileSqlOnError', 'connection', 'debug', 'defaultDateTimePrecision', 'log', 'migrations',
  'postProcessResponse', 'returning', 'searchPath', 'seeds', 'useNullAsDefault', 'userParams', 'version', 'wrapIdentifier',
] // prettier-ignore

/** What a Database decides itself. */
const NOT_KNEX = ['client', 'dialect', 'pool', 'connectionPool', 'acquireConnectionTimeout']

/** What the driver may be told, beside what the URL says. */
const KNEX_CONNECTION: Readonly<Record<string, readonly string[]>> = {
  postgresql: [
    'application_name', 'client_encoding', 'connectionTimeoutMillis', 'database', 'enableChannelBinding',
    'fallback_application_name', 'host', 'idle_in_transaction_session_timeout', 'keepAlive',
    'keepAliveInitialDelayMillis', 'lock_timeout', 'options', 'password', 'port', 'query_timeout', 'scramMaxIterations',
    'ssl', 'sslnegotiation', 'statement_timeout', 'stream', 'types', 'user',
  ],
  // The URL says it all.
  sqlite: [],
} // prettier-ignore

/**
 * Puts the URL's parameters, the options and the defaults together; options win over the URL.
 *
 * @throws ConfigurationError naming the first option that is unknown or impossible
 */
export function settle(url: DatabaseURL, options: BackendOptions): Settings {
  refuseUnknown(options, KNOWN, 'A Database', 'option')
  refuseUnknown(options.pool ?? {}, Object.keys(POOL_DEFAULTS), 'A pool', 'option')
  const asked: PoolOptions = { ...poolOfURL(url), ...definedOnly(options.pool ?? {}) }
  const pool = { ...POOL_DEFAULTS, ...asked }
  for (const [name, minimum] of Object.entries(POOL_MINIMUM)) {
    const value = pool[name as keyof PoolOptions]
    if (value === false && name === 'validateAfterIdleMillis') continue
    requireNumber(`pool.${name}`, value, minimum, WHOLE.includes(name))
  }
  if (url.isMemory) {
    if ((asked.size ?? 1) !== 1 || (asked.maxOverflow ?? 0) !== 0) {
      throw new ConfigurationError(
        'A SQLite database in memory lives and dies with its one connection, so its pool has size 1 and maxOverflow 0. ' +
          'Leave both out, or name a file: sqlite:///file.db.',
      )
    }
    // That one connection holds all the data: nothing may ever retire it.
    const forever = { maxLifetimeMillis: Infinity, idleTimeoutMillis: Infinity, keepaliveMillis: 0 }
    Object.assign(pool, { size: 1, maxOverflow: 0, ...forever })
  }
  refuseContradictions(pool)
  if (options.name !== undefined && (typeof options.name !== 'string' || options.name === '')) {
    throw new ConfigurationError(`name is a text, got ${inspect(options.name)}.`)
  }
  const { statementTimeoutMillis, connectTimeoutMillis } = { ...DEFAULTS, ...definedOnly(options) }
  requireNumber('statementTimeoutMillis', statementTimeoutMillis, 0)
  requireNumber('connectTimeoutMillis', connectTimeoutMillis, 1)
  return Object.freeze({
    name:
      options.name ?? (url.database === '' ? url.dialect : (url.database.split('/').at(-1) ?? url.dialect)),
    pool: Object.freeze(pool),
    statementTimeoutMillis: statementTimeoutMillis === 0 ? Infinity : statementTimeoutMillis,
    connectTimeoutMillis,
    preparedStatements: mostPrepared(options.preparedStatements),
    knex: checkedKnex(url.dialect, options.knex ?? {}),
  })
}

function checkedKnex(dialect: string, given: Partial<Knex.Config>): Partial<Knex.Config> {
  const ours = NOT_KNEX.find((name) => name in given)
  if (ours !== undefined) {
    throw new ConfigurationError(`options.knex cannot set '${ours}': millpond owns it. Use its own options.`)
  }
  refuseUnknown(given, KNEX, 'options.knex', 'option')
  const connection = given.connection ?? {}
  if (typeof connection !== 'object') {
    throw new ConfigurationError(
      `options.knex.connection is an object, which is merged with what the URL says, got a ${typeof connection}. ` +
        'Give the address as the URL, and a password that changes as { password: async () => … }.',
    )
  }
  refuseUnknown(connection, KNEX_CONNECTION[dialect] ?? [], 'options.knex.connection', 'option')
  return given
}

/** How many prepared statements a connection keeps where nothing speaks against them. */
export const MOST_PREPARED = 256

function mostPrepared(asked: unknown): number | undefined {
  if (asked === undefined) return undefined
  if (typeof asked === 'boolean') return asked ? MOST_PREPARED : 0
  requireNumber('preparedStatements', asked, 0, true)
  return Number(asked)
}

function refuseContradictions({
  size,
  min,
  leakThresholdMillis,
  leakTimeoutMillis,
}: Required<PoolOptions>): void {
  if (min > size) {
    throw new ConfigurationError(`pool.min is at most pool.size, which is ${size}, got ${min}.`)
  }
  if (leakTimeoutMillis !== 0 && leakTimeoutMillis < leakThresholdMillis) {
    throw new ConfigurationError(
      `pool.leakTimeoutMillis is at least pool.leakThresholdMillis, which is ${leakThresholdMillis}, got ${leakTimeoutMillis}.`,
    )
  }
}

function poolOfURL(url: DatabaseURL): PoolOptions {
  const driver = URL_DRIVER[url.dialect] ?? []
  let pool: PoolOptions = {}
  for (const [name, text] of Object.entries(url.options)) {
    if (driver.includes(name)) continue
    const read = URL_POOL[name]
    if (read === undefined || !Object.hasOwn(URL_POOL, name)) {
      const foreign = Object.hasOwn(URL_FOREIGN, name) ? URL_FOREIGN[name] : undefined
      const known = `Known ones are ${[...Object.keys(URL_POOL), ...driver].join(', ')}.`
      throw new ConfigurationError(`The database URL has an unknown parameter '${name}'. ${foreign ?? known}`)
    }
    if (!/^\d+(\.\d+)?$/.test(text)) {
      throw new ConfigurationError(`The parameter '${name}' of the database URL is a number, got '${text}'.`)
    }
    pool = { ...pool, ...read(Number(text)) }
  }
  return pool
}

function refuseUnknown(given: object, known: readonly string[], owner: string, what: string): void {
  if (typeof given !== 'object' || Array.isArray(given)) {
    const kind = Array.isArray(given) ? 'an array' : `a ${typeof given}`
    throw new ConfigurationError(`${owner} has its ${what}s in an object, got ${kind}.`)
  }
  const unknown = Object.keys(given).find((name) => !known.includes(name))
  if (unknown !== undefined) {
    const ones = known.length === 0 ? 'There are none' : `Known ones are ${known.join(', ')}`
    throw new ConfigurationError(`${owner} has no ${what} '${unknown}'. ${ones}.`)
  }
}

function requireNumber(name: string, value: unknown, minimum: number, whole = false): void {
  if (
    typeof value !== 'number' ||
    Number.isNaN(value) ||
    value < minimum ||
    (whole && !Number.isInteger(value))
  ) {
    const kind = whole ? 'a whole number' : 'a number'
    throw new ConfigurationError(`${name} is ${kind} from ${minimum} up, got ${inspect(value)}.`)
  }
}

/** An option that is there but undefined counts as left out. */
function definedOnly<T extends object>(options: T): T {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as T
}
