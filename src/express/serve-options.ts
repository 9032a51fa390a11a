/** The options of `serve`, with their defaults and checks. */
import { ConfigurationError, type Database } from '../database'
import { type AdminOptions, checkAdmin } from './admin'
import { type ServedDatabase, databaseEntry } from './database-entry'

/** The logger of `serve`. The console and a pino logger both fit. */
export interface Logger {
  info(message: string): void
  warn(message: string): void
  error(message: string): void
}

export interface ServeOptions {
  /** Default 3000; 0 takes any free port. */
  readonly port?: number
  /** Default: every interface of the machine, as `app.listen(port)` does. */
  readonly host?: string
  /**
   * Connected first, in this order; disconnected last, in reverse. The start waits for each one up to its
   * `connectTimeoutMillis`, but not for one with `required: false`: that is connected when it can be reached.
   */
  readonly databases?: readonly (Database | ServedDatabase)[]
  /** Serves the pool monitor, metrics and health on a separate listener, for operators. Default false. */
  readonly admin?: AdminOptions | false
  /** Runs when the databases are connected, before the first request. */
  readonly onStartup?: () => unknown
  /** Runs after the last answer, before the databases are disconnected; only if `onStartup` succeeded. */
  readonly onShutdown?: () => unknown
  /** The time limit of a whole shutdown, readinessGraceMillis included. Default 30 000. */
  readonly shutdownTimeoutMillis?: number
  /** How long a shutdown still accepts requests after readiness is off, so that load balancers notice. Default 0. */
  readonly readinessGraceMillis?: number
  /**
   * How long a shutdown keeps a quiet connection open for a request that may be on its way. Default 1000; 0 closes such
   * connections at once, which is faster in tests.
   */
  readonly keepAliveGraceMillis?: number
  /** How long the queries of one request may take in total. Default 0: no limit. */
  readonly requestTimeoutMillis?: number
  /** How long a client may take to send the headers of a request, from its first byte on. Default 15 000. */
  readonly headersTimeoutMillis?: number
  /** How long a client may take to send a whole request; a slower one gets 408. Default 300 000; 0: no limit. */
  readonly receiveTimeoutMillis?: number
  /** Signals that end the process. Default SIGTERM and SIGINT; with an empty list `serve` handles none. */
  readonly signals?: readonly NodeJS.Signals[]
  /**
   * Ends the process after a signal. `atOnce` is the second signal, if there was one. Default: `process.exit`, or the second
   * signal's default action.
   */
  readonly exit?: (code: number, atOnce?: NodeJS.Signals) => void
  /** Default: the console. */
  readonly logger?: Logger
}

export type ServeSettings = Required<Omit<ServeOptions, 'host' | 'databases'>> & {
  readonly host: string | undefined
  readonly databases: readonly Required<ServedDatabase>[]
}

const DEFAULTS: ServeSettings = {
  port: 3000,
  host: undefined,
  databases: [],
  admin: false,
  onStartup: () => {},
  onShutdown: () => {},
  shutdownTimeoutMillis: 30_000,
  readinessGraceMillis: 0,
  keepAliveGraceMillis: 1000,
  requestTimeoutMillis: 0,
  headersTimeoutMillis: 15_000,
  receiveTimeoutMillis: 300_000,
  signals: ['SIGTERM', 'SIGINT'],
  exit: (code, atOnce) => {
    if (atOnce === undefined) process.exit(code)
    // process.exit would wait for calls of the SQLite driver that run in threads.
    process.removeAllListeners(atOnce)
    process.kill(process.pid, atOnce)
  },
  logger: console,
}

/** The longest time of a timer in Node, which takes anything longer for 1 ms. */
const MAX_TIMER_MILLIS = 2 ** 31 - 1

/**
 * Checks the options and adds the defaults.
 *
 * @throws ConfigurationError naming the first option that is unknown or impossible
 */
export function resolveOptions(options: ServeOptions): ServeSettings {
  const unknown = Object.keys(options).find((name) => !(name in DEFAULTS))
  if (unknown !== undefined) {
    throw new ConfigurationError(
      `serve has no option '${unknown}'. Known ones are ${Object.keys(DEFAULTS).join(', ')}.`,
    )
  }
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
  const { databases = [], ...others } = given as ServeOptions
  const settings = { ...DEFAULTS, ...others, databases: databases.map(databaseEntry) }
  const { port, readinessGraceMillis, keepAliveGraceMillis, requestTimeoutMillis, shutdownTimeoutMillis } =
    settings
  if (!Number.isInteger(port) || port < 0 || port > 65_535) {
    throw new ConfigurationError(`port is a whole number from 0 to 65535, got ${String(port)}.`)
  }
  checkAdmin(settings.admin)
  const times = {
    shutdownTimeoutMillis,
    readinessGraceMillis,
    keepAliveGraceMillis,
    requestTimeoutMillis,
    headersTimeoutMillis: settings.headersTimeoutMillis,
    receiveTimeoutMillis: settings.receiveTimeoutMillis,
  }
  for (const [name, value] of Object.entries(times)) {
    if (!(value >= 0))
      throw new ConfigurationError(`${name} is a number of milliseconds from 0 up, got ${String(value)}.`)
    if (value > MAX_TIMER_MILLIS)
      throw new ConfigurationError(`${name} is at most ${MAX_TIMER_MILLIS}, got ${String(value)}.`)
  }
  if (readinessGraceMillis > 0 && readinessGraceMillis >= shutdownTimeoutMillis) {
    throw new ConfigurationError(
      `readinessGraceMillis (${readinessGraceMillis}) is part of shutdownTimeoutMillis (${shutdownTimeoutMillis}) and must be shorter.`,
    )
  }
  return settings
}
