/** The parameters of a database URL that set options: ours, libpq's and pg's, and those that hosts and other tools write there. */
import { ConfigurationError } from './errors'
import type { DatabaseURL } from './url'

/** What a URL says about the options of a Database. */
export interface URLOptions {
  readonly pool?: {
    readonly size?: number
    readonly maxOverflow?: number
    readonly min?: number
    readonly acquireTimeoutMillis?: number
    readonly maxLifetimeMillis?: number
  }
  readonly statementTimeoutMillis?: number
  readonly preparedStatements?: number
  readonly searchPath?: readonly string[]
  /** The driver's own options. */
  readonly connection?: Readonly<Record<string, string | number | boolean>>
}

/** Reads the value of a parameter. `name` is for errors. */
type Read = (text: string, name: string) => URLOptions

function number(read: (value: number) => URLOptions): Read {
  return (text, name) => {
    if (/^\d+(\.\d+)?$/.test(text)) return read(Number(text))
    throw new ConfigurationError(`The parameter '${name}' of the database URL is a number, got '${text}'.`)
  }
}

/** @param advice what to do about any other value */
function oneOf(values: Readonly<Record<string, URLOptions>>, advice = ''): Read {
  return (text, name) => {
    const found = Object.hasOwn(values, text) ? values[text] : undefined
    if (found !== undefined) return found
    const known = Object.keys(values).join(' or ')
    throw new ConfigurationError(
      `The parameter '${name}' of the database URL is ${known}, got '${text}'.${advice && ` ${advice}`}`,
    )
  }
}

const searchPath: Read = (text) => ({
  searchPath: text.split(',').map((schema) => schema.trim().replace(/^"(.*)"$/, '$1')),
})

/** SQLAlchemy's names, whose times are seconds, and those of `databases`. */
const POOL: Readonly<Record<string, Read>> = {
  pool_size: number((size) => ({ pool: { size } })),
  max_overflow: number((maxOverflow) => ({ pool: { maxOverflow } })),
  pool_timeout: number((seconds) => ({ pool: { acquireTimeoutMillis: seconds * 1000 } })),
  pool_recycle: number((seconds) => ({ pool: { maxLifetimeMillis: seconds * 1000 } })),
  min_size: number((min) => ({ pool: { min } })),
  max_size: number((size) => ({ pool: { size, maxOverflow: 0 } })),
}

/** The parameters that set options of a Database, besides those of {@link POOL}. */
const READ: Readonly<Record<string, Readonly<Record<string, Read>>>> = {
  postgresql: {
    // libpq's, whose times are seconds.
    port: number((port) => ({ connection: { port } })),
    keepalives: oneOf({ 0: { connection: { keepAlive: false } }, 1: {} }),
    keepalives_idle: number((seconds) => ({ connection: { keepAliveInitialDelayMillis: seconds * 1000 } })),
    fallback_application_name: (name) => ({ connection: { fallback_application_name: name } }),
    sslnegotiation: oneOf({ postgres: {}, direct: { connection: { sslnegotiation: 'direct' } } }),
    gssencmode: oneOf({ disable: {}, prefer: {} }, 'pg does not know GSSAPI.'),
    client_encoding: oneOf({ UTF8: {}, utf8: {}, 'utf-8': {}, 'UTF-8': {}, auto: {} }),
    target_session_attrs: oneOf(
      { any: {}, 'prefer-standby': {} },
      'Leave it out: there is one host, and no other to choose.',
    ),
    // pg's, which are milliseconds.
    statement_timeout: number((statementTimeoutMillis) => ({ statementTimeoutMillis })),
    lock_timeout: number((millis) => ({ connection: { lock_timeout: millis } })),
    idle_in_transaction_session_timeout: number((millis) => ({
      connection: { idle_in_transaction_session_timeout: millis },
    })),
    uselibpqcompat: oneOf({ true: {} }, 'Leave it out: sslmode means what it means to libpq.'),
    search_path: searchPath,
    // Prisma's.
    schema: searchPath,
    connection_limit: number((size) => ({ pool: { size, maxOverflow: 0 } })),
    pgbouncer: oneOf({ true: { preparedStatements: 0 }, false: {} }),
    // Supabase counts by it where its URLs come from.
    supa: () => ({}),
  },
}

/** The parameters that each dialect reads by itself. */
const READ_BY_DIALECT: Readonly<Record<string, readonly string[]>> = {
  postgresql: [
    'sslmode', 'ssl', 'sslrootcert', 'sslcert', 'sslkey', 'channel_binding', 'application_name', 'host', 'connect_timeout',
    'options',
  ],
  sqlite: ['mode', 'immutable'],
} // prettier-ignore

const NO_SUCH_SETTING = 'Leave it out: Node has no such setting. pool.keepaliveMillis finds dead connections.'
const PREPARED = 'Set options.preparedStatements.'

/** Parameters of libpq and of other tools that mean nothing here, and what to write instead. */
const ADVICE: Readonly<Record<string, string>> = {
  user: 'Write it before the host: postgresql://user:password@host/name.',
  password: 'Write it before the host: postgresql://user:password@host/name.',
  dbname: 'Write it behind the host: postgresql://user:password@host/name.',
  hostaddr: 'Write the address as the host.',
  passfile: 'Set the variable PGPASSFILE.',
  service: 'Write host, user and name into the URL: pg reads no pg_service.conf.',
  keepalives_interval: NO_SUCH_SETTING,
  keepalives_count: NO_SUCH_SETTING,
  tcp_user_timeout: NO_SUCH_SETTING,
  sslaccept: 'Write sslmode=verify-full, or sslmode=require, which does not ask who is there.',
  currentSchema: 'Write search_path.',
  pool: 'Write max_size.',
  max: 'Write max_size.',
  pool_max_conns: 'Write max_size.',
  socket_timeout: 'Write statement_timeout, which is in milliseconds.',
  command_timeout: 'Write statement_timeout, which is in milliseconds.',
  statement_cache_size: PREPARED,
  prepared_statements: PREPARED,
  prepared_statement_cache_size: PREPARED,
}

/**
 * Returns the options that the parameters of the URL set.
 *
 * @throws ConfigurationError for an unknown parameter, or a value that one cannot have
 */
export function optionsOfURL({ dialect, options }: DatabaseURL): URLOptions {
  const reads = { ...POOL, ...READ[dialect] }
  const others = READ_BY_DIALECT[dialect] ?? []
  let found: URLOptions = {}
  for (const [name, text] of Object.entries(options)) {
    if (others.includes(name)) continue
    const read = Object.hasOwn(reads, name) ? reads[name] : undefined
    if (read === undefined) {
      const known = `Known ones are ${[...Object.keys(reads), ...others].join(', ')}.`
      const advice = dialect === 'postgresql' && Object.hasOwn(ADVICE, name) ? ADVICE[name] : undefined
      throw new ConfigurationError(`The database URL has an unknown parameter '${name}'. ${advice ?? known}`)
    }
    const next = read(text, name)
    found = {
      ...found,
      ...next,
      pool: { ...found.pool, ...next.pool },
      connection: { ...found.connection, ...next.connection },
    }
  }
  return found
}
