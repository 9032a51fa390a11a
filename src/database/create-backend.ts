/** Wires the dialect, the Knex instance and the pool of a Database together. */
import { commandLineClient } from './knex/command-line-client'
import type { Backend } from './query/backend'
import type { Knex } from 'knex'
import { ConfigurationError, TransactionError } from './errors'
import type { Events } from './events'
import { Limits, queryTimeoutError } from './context/limits'
import { type BackendOptions, resolveSettings } from './options'
import { DatabaseURL } from './url'
import type { Dialect, Security } from './driver/dialect'
import { codeOf } from './driver/driver-error'
import type { NamedLock, Session } from './driver/session'
import type { KnexHost } from './knex/host'
import { createKnex, mergedConfig } from './knex/leased-client'
import { runBuilderOn } from './knex/runner'
import type { Lease, TransactionParent } from './pool/lease'
import { Pool } from './pool/pool'
import type { PoolContext } from './pool/pool-context'
import type * as Postgres from './postgres/dialect'
import type * as Sqlite from './sqlite/dialect'
import { Compiler } from './sql/compiler'

/** Loads a driver only when a URL needs it: loading takes time. */
const DIALECTS: Readonly<Record<string, (url: DatabaseURL) => Dialect>> = {
  postgresql: (url) => loadPostgres(url).postgres(url),
  sqlite: (url) => (require('./sqlite/dialect') as typeof Sqlite).sqlite(url),
}

/** How many connections this process has opened. */
let connectionCount = 0

/** The parts of a Database. */
export interface DatabaseBackend extends Backend {
  readonly knex: Knex
  /** A pool lives from connect() to disconnect(), so each connect() makes its own. */
  createPool(prepare: PoolContext['prepare']): Pool
  /** Opens a lock that all processes share; the signal ends the opening, or the lock. Calls `lost` when a held lock is lost. */
  openNamedLock(name: string, signal: AbortSignal, lost: () => void): Promise<NamedLock>
  /** Returns what the user may do, and how the connection is protected. */
  security(lease: Lease, limits: Limits): Promise<Security>
}

/** The part of KnexHost that the Database provides; this file adds the rest. */
export interface KnexLender extends Omit<
  KnexHost,
  'dialect' | 'poolCounters' | 'transactionParentOf' | 'statementOf' | 'accessOf'
> {
  /** Returns what runs the statements that Knex sends on a lease whose innermost transaction is `transactionParent`. */
  transactionParentOf(transactionParent: TransactionParent): TransactionParent
}

/**
 * Creates the backend of a Database. No I/O.
 *
 * @throws ConfigurationError for a wrong URL, option or parameter
 */
export function createBackend(
  url: DatabaseURL,
  options: BackendOptions,
  events: Events,
  lender: KnexLender,
): DatabaseBackend {
  const settings = resolveSettings(url, options)
  const dialect = dialectOf(url)
  const compiler = new Compiler(dialect)
  let pool: Pool | undefined
  const host: KnexHost = {
    ...lender,
    dialect,
    get poolCounters() {
      return pool && poolCountersOf(pool)
    },
    transactionParentOf(raw) {
      const transactionParent = pool?.leaseOf(raw)?.transactionParent
      if (transactionParent) return lender.transactionParentOf(transactionParent)
      throw new TransactionError(
        'The connection was not taken from this Database, or has gone back to it, so nothing can be run on it.',
      )
    },
    statementOf: (query) => compiler.fromKnex(query),
    accessOf: (sql) => compiler.parse(sql),
  }
  const instance = createKnex(url, dialect, settings, host)
  const client = instance.client as Knex.Client
  // Plug-ins of Knex read the name here.
  client.config.client = client.driverName
  const open = async (signal: AbortSignal): Promise<Session> => {
    const session = await dialect.open(await dialect.dial(client, signal), settings, signal)
    // Knex's id for a connection, which its events and some plug-ins show.
    Object.assign(session.raw, { __knexUid: `__knexUid${++connectionCount}` })
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
      const remainingMillis = Math.max(0, deadline - performance.now()) + dialect.cancelGraceMillis * 0.25
      const timeoutMillis = Math.min(remainingMillis, settings.pool.acquireTimeoutMillis)
      const limits = Limits.none.within(timeoutMillis, () => queryTimeoutError('', 'time that is left'))
      try {
        return (await pool?.controlConnection.outcomeOf(transactionId, limits)) ?? 'unknown'
      } catch {
        // The outcome stays unknown, whatever the reason.
        return 'unknown'
      }
    },
    async openNamedLock(name, signal, lost) {
      try {
        return await dialect.namedLock(name, () => open(signal), lost, signal)
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
    runProgram: (builder, lease) => runBuilderOn(lease, client, builder),
  }
}

/**
 * Returns the configuration for the Knex command line, where the URL means what it means to a Database. Put it into a
 * `knexfile.ts`, beside `migrations` and `seeds`.
 *
 * @throws ConfigurationError when the URL is wrong
 * @example
 * export default { development: { ...knexConfig('sqlite:///blog.db'), migrations: { directory: './migrations' } } }
 */
export function knexConfig(url: string | DatabaseURL): Knex.Config {
  const parsed = new DatabaseURL(url)
  const dialect = dialectOf(parsed)
  const settings = resolveSettings(parsed, {})
  const { commandLine } = dialect
  const client =
    typeof commandLine === 'object' ? commandLineClient(dialect, settings, commandLine.setUp) : commandLine
  return { client, ...mergedConfig(parsed, dialect, settings) }
}

function dialectOf(url: DatabaseURL): Dialect {
  const dialect = DIALECTS[url.dialect]
  if (dialect === undefined) throw new ConfigurationError(`There is no dialect '${url.dialect}'.`)
  return dialect(url)
}

/** @throws ConfigurationError when pg is not installed */
function loadPostgres(url: DatabaseURL): typeof Postgres {
  try {
    return require('./postgres/dialect') as typeof Postgres
  } catch (cause) {
    if (codeOf(cause) !== 'MODULE_NOT_FOUND') throw cause
    throw new ConfigurationError(
      `The driver for ${url.toString()} cannot be loaded. Install it: \`npm install pg\`.`,
      { cause },
    )
  }
}

/** Returns the counters that monitors read from Knex's pool, under tarn's names. */
function poolCountersOf(pool: Pool): object {
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
