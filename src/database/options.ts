/** The options of a Database: defaults, checks, and their names in a URL. */
import { inspect } from 'node:util'
import type { Knex } from 'knex'
import { ConfigurationError } from './errors'
import type { DatabaseURL } from './url'
import { optionsOfURL, type URLOptions } from './url-parameters'

/** The pool of a Database. All times are milliseconds. */
export interface PoolOptions {
  /** Connections that stay open once opened. Default 5. SQLite in memory has exactly 1. */
  readonly size?: number
  /** Extra connections under load, closed when they are released. Default 10. */
  readonly maxOverflow?: number
  /** Connections that are opened in advance, and replaced when lost; at most `size`. Default 0. */
  readonly min?: number
  /** How long a caller waits for a connection before PoolTimeoutError. Default 30 000. */
  readonly acquireTimeoutMillis?: number
  /** A connection older than this is replaced, at random up to 10 % earlier, so that not all go at once. Default 1 800 000. */
  readonly maxLifetimeMillis?: number
  /** A connection unused for this long is closed. Default 600 000. */
  readonly idleTimeoutMillis?: number
  /** A connection idle for this long is pinged before it is lent. Default 500; false never pings. */
  readonly validateAfterIdleMillis?: number | false
  /** How often an idle connection is pinged, so that no firewall or proxy drops it. Default 30 000; 0 turns it off. */
  readonly keepaliveMillis?: number
  /** A connection lent for longer than this is reported once, with the call site that took it. Default 0: off. */
  readonly leakThresholdMillis?: number
  /** A connection lent for longer than this is taken back, its transaction rolled back. Default 0: off. */
  readonly leakTimeoutMillis?: number
  /** How many callers may wait for a connection; further ones fail at once. Default Infinity. */
  readonly maxWaiters?: number
}

/** The options of a Database, except those that need a Connection or a transaction. */
export interface BackendOptions {
  /** The Database's name in logs and errors. Default: the database's name in the URL. */
  readonly name?: string
  readonly pool?: PoolOptions
  /** The longest that one statement may run. Default 60 000; 0 turns it off. */
  readonly statementTimeoutMillis?: number
  /**
   * How many prepared statements each connection to PostgreSQL keeps; true: 256; false or 0: none. Default: 256, or none
   * behind a pooler such as PgBouncer, which may send the next statement to another server process.
   */
  readonly preparedStatements?: boolean | number
  /** The time limit of connect(), retries included. Default 15 000. */
  readonly connectTimeoutMillis?: number
  /** Merged into the Knex configuration, for settings that have no option here. */
  readonly knex?: Partial<Knex.Config>
}

export interface Settings {
  readonly name: string
  readonly pool: Required<PoolOptions>
  readonly statementTimeoutMillis: number
  readonly connectTimeoutMillis: number
  /** The most for each connection; undefined: 256, or none behind a pooler. */
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

const OPTION_NAMES = [
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

/** The options that count connections, and so are whole numbers. */
const WHOLE_NUMBERS: readonly string[] = ['size', 'maxOverflow', 'min']

/** The options of Knex that `options.knex` may set. */
const KNEX_OPTIONS = [
  'asyncStackTraces', 'compileSqlOnError', 'connection', 'debug', 'defaultDateTimePrecision', 'log', 'migrations',
  'postProcessResponse', 'returning', 'searchPath', 'seeds', 'useNullAsDefault', 'userParams', 'version', 'wrapIdentifier',
] // prettier-ignore

/** The options of Knex that the Database sets itself. */
const REFUSED_KNEX_OPTIONS = ['client', 'dialect', 'pool', 'connectionPool', 'acquireConnectionTimeout']

/** The options of each driver that `options.knex.connection` may set in addition to the URL. */
const KNEX_CONNECTION_OPTIONS: Readonly<Record<string, readonly string[]>> = {
  postgresql: [
    'application_name', 'client_encoding', 'connectionTimeoutMillis', 'database', 'enableChannelBinding',
    'fallback_application_name', 'host', 'idle_in_transaction_session_timeout', 'keepAlive',
    'keepAliveInitialDelayMillis', 'lock_timeout', 'options', 'password', 'port', 'query_timeout', 'scramMaxIterations',
    'ssl', 'sslnegotiation', 'statement_timeout', 'stream', 'types', 'user',
  ],
  // The URL holds every option of SQLite.
  sqlite: [],
} // prettier-ignore

/**
 * Merges the options, the URL's parameters and the defaults; options win over the URL.
 *
 * @throws ConfigurationError naming the first unknown or wrong option
 */
export function resolveSettings(url: DatabaseURL, options: BackendOptions): Settings {
  refuseUnknown(options, OPTION_NAMES, 'A Database', 'option')
  refuseUnknown(options.pool ?? {}, Object.keys(POOL_DEFAULTS), 'A pool', 'option')
  const fromURL = optionsOfURL(url)
  const requested: PoolOptions = { ...fromURL.pool, ...definedOnly(options.pool ?? {}) }
  const pool = { ...POOL_DEFAULTS, ...requested }
  for (const [name, minimum] of Object.entries(POOL_MINIMUM)) {
    const value = pool[name as keyof PoolOptions]
    if (value === false && name === 'validateAfterIdleMillis') continue
    requireNumber(`pool.${name}`, value, minimum, WHOLE_NUMBERS.includes(name))
  }
  if (url.isMemory) {
    if ((requested.size ?? 1) !== 1 || (requested.maxOverflow ?? 0) !== 0) {
      throw new ConfigurationError(
        'A SQLite database in memory lives and dies with its one connection, so its pool has size 1 and maxOverflow 0. ' +
          'Leave both out, or name a file: sqlite:///file.db.',
      )
    }
    // The one connection holds all the data: it must never be closed.
    const forever = { maxLifetimeMillis: Infinity, idleTimeoutMillis: Infinity, keepaliveMillis: 0 }
    Object.assign(pool, { size: 1, maxOverflow: 0, ...forever })
  }
  refuseContradictions(pool)
  if (options.name !== undefined && (typeof options.name !== 'string' || options.name === '')) {
    throw new ConfigurationError(`name is a text, got ${inspect(options.name)}.`)
  }
  const { statementTimeoutMillis, connectTimeoutMillis, preparedStatements } = {
    ...DEFAULTS,
    ...fromURL,
    ...definedOnly(options),
  }
  requireNumber('statementTimeoutMillis', statementTimeoutMillis, 0)
  requireNumber('connectTimeoutMillis', connectTimeoutMillis, 1)
  return Object.freeze({
    name:
      options.name ?? (url.database === '' ? url.dialect : (url.database.split('/').at(-1) ?? url.dialect)),
    pool: Object.freeze(pool),
    statementTimeoutMillis: statementTimeoutMillis === 0 ? Infinity : statementTimeoutMillis,
    connectTimeoutMillis,
    preparedStatements: preparedStatementLimit(preparedStatements),
    knex: withURL(fromURL, checkKnexOptions(url.dialect, options.knex ?? {})),
  })
}

function checkKnexOptions(dialect: string, given: Partial<Knex.Config>): Partial<Knex.Config> {
  const refused = REFUSED_KNEX_OPTIONS.find((name) => name in given)
  if (refused !== undefined) {
    throw new ConfigurationError(
      `options.knex cannot set '${refused}': millpond owns it. Use its own options.`,
    )
  }
  refuseUnknown(given, KNEX_OPTIONS, 'options.knex', 'option')
  const connection = given.connection ?? {}
  if (typeof connection !== 'object') {
    throw new ConfigurationError(
      `options.knex.connection is an object, which is merged with what the URL says, got a ${typeof connection}. ` +
        'Give the address as the URL, and a password that changes as { password: async () => … }.',
    )
  }
  refuseUnknown(connection, KNEX_CONNECTION_OPTIONS[dialect] ?? [], 'options.knex.connection', 'option')
  return given
}

/** Adds what the URL says to the options of Knex, which win over it. */
function withURL({ searchPath, connection }: URLOptions, given: Partial<Knex.Config>): Partial<Knex.Config> {
  if (searchPath === undefined && connection === undefined) return given
  return {
    ...(searchPath !== undefined && { searchPath }),
    ...given,
    connection: { ...connection, ...(given.connection as object | undefined) },
  }
}

/** How many prepared statements a connection keeps by default, where there is no pooler. */
export const DEFAULT_PREPARED_STATEMENTS = 256

function preparedStatementLimit(requested: unknown): number | undefined {
  if (requested === undefined) return undefined
  if (typeof requested === 'boolean') return requested ? DEFAULT_PREPARED_STATEMENTS : 0
  requireNumber('preparedStatements', requested, 0, true)
  return Number(requested)
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

/** Returns the options without the undefined ones, which count as left out. */
function definedOnly<T extends object>(options: T): T {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as T
}
