/** A database behind one door: its dialect, its Knex instance and its pool, put together. */
import { commandLineClient } from './knex/command-line-client'
import type { Backend } from './query/backend'
import type { Knex } from 'knex'
import { ConfigurationError, TransactionError } from './errors'
import type { Events } from './events'
import { Limits, queryTimeoutError } from './context/limits'
import { type BackendOptions, settle } from './options'
import { DatabaseURL } from './url'
import type { Dialect } from './driver/dialect'
import type { Session } from './driver/session'
import type { KnexHost } from './knex/host'
import { createKnex } from './knex/instance'
import { runOn } from './knex/runner'
import type { TransactionParent } from './pool/lease'
import { Pool } from './pool/pool'
import type * as Postgres from './postgres/dialect'
import type * as Sqlite from './sqlite/dialect'
import { Compiler } from './sql/compiler'

/** Each loads its driver, so that nobody waits for a driver that is not used. */
const DIALECTS: Readonly<Record<string, (url: DatabaseURL) => Dialect>> = {
  postgresql: (url) => (require('./postgres/dialect') as typeof Postgres).postgres(url),
  sqlite: (url) => (require('./sqlite/dialect') as typeof Sqlite).sqlite(url),
}

/** How many connections this process has opened. */
let opened = 0

/** What the Database offers to Knex: all but the translation of queries. */
export interface Lender extends Omit<KnexHost, 'figures' | 'groundOf' | 'statementOf' | 'accessOf'> {
  /** Where statements run that name the connection itself, which is held as `ground` says. */
  groundOf(ground: TransactionParent): TransactionParent
}

/**
 * Puts a backend together. No I/O.
 *
 * @throws ConfigurationError for an URL, option or parameter that is wrong
 */
export function createBackend(
  url: DatabaseURL,
  options: BackendOptions,
  events: Events,
  lender: Lender,
): Backend {
  const settings = settle(url, options)
  const dialect = dialectOf(url)
  const compiler = new Compiler(dialect)
  let pool: Pool | undefined
  const host: KnexHost = {
    ...lender,
    get figures() {
      return pool && figuresOf(pool)
    },
    groundOf(raw) {
      const ground = pool?.leaseOf(raw)?.transactionParent
      if (ground) return lender.groundOf(ground)
      throw new TransactionError(
        'The connection was not taken from this Database, or has gone back to it, so nothing can be run on it.',
      )
    },
    statementOf: (query) => compiler.fromKnex(query),
    accessOf: (sql) => compiler.parse(sql),
  }
  const instance = createKnex(url, dialect, settings, host)
  const client = instance.client as Knex.Client
  // A name, as Knex itself would have it: plug-ins look at it.
  client.config.client = client.driverName
  const open = async (signal: AbortSignal): Promise<Session> => {
    const session = await dialect.open(await dialect.dial(client, signal), settings, signal)
    // Knex's name for a connection, which its events and some plug-ins tell.
    Object.assign(session.raw, { __knexUid: `__knexUid${++opened}` })
    return session
  }
  return {
    dialect,
    settings,
    compiler,
    knex: instance,
    createPool(prepare) {
      pool = new Pool({
        name: settings.name,
        dialect,
        settings,
        events,
        prepare,
        open,
        translateConnect: (error) => dialect.translateConnect(error),
      })
      return pool
    },
    async outcomeOf(transactionId, { deadline }) {
      const left = Math.max(0, deadline - performance.now()) + dialect.cancelGraceMillis * 0.25
      const patience = Math.min(left, settings.pool.acquireTimeoutMillis)
      const limits = Limits.none.within(patience, () => queryTimeoutError('', 'time that is left'))
      try {
        return (await pool?.controlConnection.outcomeOf(transactionId, limits)) ?? 'unknown'
      } catch {
        // Whatever the reason, it leaves the question where it was.
        return 'unknown'
      }
    },
    async namedLock(name, signal, lost) {
      try {
        return await dialect.namedLock(name, () => open(signal), lost)
      } catch (error) {
        throw dialect.translateConnect(error).error
      }
    },
    security: (lease, limits) =>
      dialect.security(lease.session.raw, async (sql) => {
        const { rows } = await lease.runUnchecked(
          compiler.plain(sql, { take: 'first', asArrays: true }),
          limits,
        )
        return (rows[0] as readonly unknown[] | undefined)?.[0]
      }),
    runProgram: (builder, lease) => runOn(lease, client, builder),
  }
}

/**
 * The configuration for the Knex command line, with the URL meaning what it means to a Database. Put it into a
 * `knexfile.ts`, beside `migrations` and `seeds`.
 *
 * @throws ConfigurationError when the URL is wrong
 * @example
 * export default { development: { ...knexConfig('sqlite:///blog.db'), migrations: { directory: './migrations' } } }
 */
export function knexConfig(url: string | DatabaseURL): Knex.Config {
  const parsed = new DatabaseURL(url)
  const dialect = dialectOf(parsed)
  const settings = settle(parsed, {})
  const { commandLine } = dialect
  const client =
    typeof commandLine === 'object' ? commandLineClient(dialect, settings, commandLine.setUp) : commandLine
  return { client, ...dialect.knexConfig(parsed, settings) }
}

function dialectOf(url: DatabaseURL): Dialect {
  const dialect = DIALECTS[url.dialect]
  if (dialect === undefined) throw new ConfigurationError(`There is no dialect '${url.dialect}'.`)
  return dialect(url)
}

/** What monitors ask Knex's pool for. */
function figuresOf(pool: Pool): object {
  const { size, maxOverflow } = pool.stats()
  return {
    min: 0,
    max: size + maxOverflow,
    numUsed: () => pool.stats().used,
    numFree: () => pool.stats().idle,
    numPendingAcquires: () => pool.stats().waiting,
    numPendingCreates: () => pool.stats().creating,
  }
}
