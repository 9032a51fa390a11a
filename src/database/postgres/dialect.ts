/** The dialect of PostgreSQL, through pg: how to write SQL for it, connect to it, and read its errors. */
import type { Knex } from 'knex'
import { BlockList, isIPv6 } from 'node:net'
import { TLSSocket } from 'node:tls'
import { inspect } from 'node:util'
import { DEFAULT_PREPARED_STATEMENTS, type Settings } from '../options'
import { ConfigurationError } from '../errors'
import type { DatabaseURL } from '../url'
import type {
  TransactionStatements,
  ConnectFailure,
  Dialect,
  Security,
  TransactionModes,
} from '../driver/dialect'
import type { NamedLock, Notifications, Session } from '../driver/session'
import { ArrayTypes } from './array-types'
import { destroyOnAbort, PostgresClient } from './client'
import { connectFailure, translate } from './errors'
import type { RawConnection } from './pg-client'
import { PostgresSession } from './session'
import { applySessionSettings } from './session-settings'
import { ownStatement } from './simple-query'
import { channelBindingOf, tlsOf } from './tls'
import { TYPE_PARSERS } from './value-parsers'

/** Statements whose effect on the session DISCARD ALL undoes: https://www.postgresql.org/docs/current/sql-discard.html */
const CHANGES_SESSION =
  /^(?:SET (?!LOCAL\b|TRANSACTION\b|CONSTRAINTS\b)|(?:RESET|LISTEN|LOAD|DISCARD|DO|CALL|DECLARE)\b|PREPARE (?!TRANSACTION\b)|CREATE (?:OR REPLACE )?(?:GLOBAL |LOCAL )?TEMP)|\b(?:SET_CONFIG|PG_(?:TRY_)?ADVISORY_LOCK(?:_SHARED)?|INTO (?:GLOBAL |LOCAL )?TEMP(?:ORARY)?|PG_TEMP)\b/

const CHANGES_SESSION_QUOTED = /"(?:set_config|pg_(?:try_)?advisory_lock(?:_shared)?)"\s*\(|"pg_temp"/

/** `set_config('app.tenant', :tenant, true)`: SET LOCAL with a bound value, and a name that is no setting of PostgreSQL's own. */
const LOCAL_SETTING = String.raw`set_config\s*\(\s*'\w+\.\w+'\s*,\s*(?::\w+|\$\d+|\?|'[^']*')(?:::\w+)?\s*,\s*true\s*\)`

/** A query for nothing else: what it sets ends with the transaction, and changes the meaning of no statement. */
const SETS_LOCALLY = new RegExp(
  String.raw`^\s*select\s+${LOCAL_SETTING}(?:\s*,\s*${LOCAL_SETTING})*\s*$`,
  'i',
)

function changesSession(words: string, sql: string): boolean {
  return (CHANGES_SESSION.test(words) || CHANGES_SESSION_QUOTED.test(sql)) && !SETS_LOCALLY.test(sql)
}

export function postgres(url: DatabaseURL): Dialect {
  const arrays = new ArrayTypes()
  let wasReached = false
  return {
    name: 'postgresql',
    isSingle: false,
    runsMultiStatements: true,
    errorAbortsTransaction: true,
    // A busy server takes tens of milliseconds to start the process that cancels. One that takes longer is frozen or out
    // of reach.
    cancelGraceMillis: 200,
    lexicon: { dollarQuotes: true, bracketNames: false, driverPlaceholder: /\$\d+/y, changesSession },

    placeholder: (n) => `$${n}`,

    // Binds one array, so that an empty list works and the text is the same for every length.
    writeList(before, isNegated, values, bind) {
      const operator = isNegated ? '<> ALL (' : '= ANY ('
      return before.replace(/\b(?:not\s+)?in\s*\(\s*$/i, operator) + bind(values)
    },

    toDriver: (value) => (Array.isArray(value) ? value.map(toElement) : toScalar(value)),
    // pg binds objects as JSON and arrays as arrays, which is what users of Knex expect.
    toDriverFromBuilder: (value) => value,

    exactTexts: (columns) => ({
      sql: `CAST(json_build_array(${columns.map(() => 'CAST(?? AS text)').join(', ')}) AS text)`,
      bindings: columns,
    }),
    // The server reads a text as a value of the column that it is compared with. It refuses a NUL.
    parseExact: (text) => (text.includes('\0') ? undefined : text),

    Client: PostgresClient,
    commandLine:
      tlsOf(url).fallbackSsl === undefined && channelBindingOf(url) !== 'require' ? 'pg' : PostgresClient,
    knexConfig: (_, settings) => knexConfig(url, settings),
    dial: (client, signal) => (client as PostgresClient).dial(signal),
    open(raw, settings, signal) {
      wasReached = true
      return openSession(raw as RawConnection, settings, signal, arrays)
    },
    security,

    begin: beginFor,
    writeMutex: null,
    namedLock: advisoryLock,
    notifications: NOTIFICATIONS,

    translate,
    translateConnect: (error): ConnectFailure => connectFailure(error, url, wasReached),
  }
}

/** Checks an element of an array, which may be an array itself. */
function toElement(value: unknown): unknown {
  return Array.isArray(value) ? value.map(toElement) : toScalar(value)
}

function toScalar(value: unknown): unknown {
  if (value === undefined) throw new Error('is undefined. Give null for NULL.')
  if (typeof value === 'function' || typeof value === 'symbol')
    throw new Error(`is a ${typeof value}, which no database stores.`)
  if (value instanceof Date) {
    if (Number.isNaN(value.getTime())) throw new Error('is an invalid Date.')
    return value
  }
  if (typeof value === 'object' && value !== null && !ArrayBuffer.isView(value) && !bindsItself(value))
    throw new Error('is an object where a scalar belongs. Write json(value) if you mean a JSON document.')
  return value
}

/** Returns whether pg binds the object by its own method, as it does with json() and intervals. Parsed JSON has no methods. */
function bindsItself(value: object): boolean {
  return 'toPostgres' in value && typeof value.toPostgres === 'function'
}

const BEGIN: TransactionStatements = { open: ['BEGIN'], canBeDeferred: true, close: [] }

function beginFor(modes: TransactionModes, session: Session): TransactionStatements {
  const text = beginText(modes)
  // What the caller sends through `connection.raw` would not wait for BEGIN.
  const waits = !mayBeRefused(modes) && !(session as PostgresSession).isExposed
  return waits && text === 'BEGIN' ? BEGIN : { open: [text], canBeDeferred: waits, close: [] }
}

/** Returns whether a standby refuses such a BEGIN: https://www.postgresql.org/docs/current/hot-standby.html */
function mayBeRefused({ isolation, readOnly }: TransactionModes): boolean {
  return isolation === 'serializable' || readOnly === false
}

function beginText(modes: TransactionModes): string {
  const parts = ['BEGIN']
  if (modes.isolation !== undefined) parts.push(`ISOLATION LEVEL ${modes.isolation.toUpperCase()}`)
  if (modes.readOnly !== undefined) parts.push(modes.readOnly ? 'READ ONLY' : 'READ WRITE')
  if (modes.deferrable === true) parts.push('DEFERRABLE')
  return parts.join(' ')
}

/** How long one attempt to connect may take. The next attempt resolves the name again, which helps after a fail-over. */
const DEFAULT_DIAL_TIMEOUT_MILLIS = 10_000

/** Returns the limit of one attempt to connect. libpq's connect_timeout is in seconds, and 0 means no limit. */
function dialTimeoutMillis({ options: { connect_timeout: seconds } }: DatabaseURL): number {
  if (seconds === undefined) return DEFAULT_DIAL_TIMEOUT_MILLIS
  if (!/^\d+$/.test(seconds))
    throw new ConfigurationError(`connect_timeout is a whole number of seconds, got '${seconds}'.`)
  return Number(seconds) * 1000 || Infinity
}

/** Returns the configuration for Knex, both for a Database and for the Knex CLI. */
export function knexConfig(url: DatabaseURL, settings: Settings): Knex.Config {
  const { host, application_name: application, options } = url.options
  const { ssl, fallbackSsl } = tlsOf(url)
  const channelBinding = channelBindingOf(url)
  const connection = {
    host: host ?? url.hostname ?? undefined,
    port: url.port ?? undefined,
    user: url.username ?? undefined,
    password: url.password ?? undefined,
    database: url.database === '' ? undefined : url.database,
    application_name: application,
    // Gives way to PGAPPNAME.
    fallback_application_name: 'millpond',
    options,
    ssl,
    enableChannelBinding: channelBinding === undefined ? undefined : channelBinding !== 'disable',
    channelBinding,
    // pg turns it off by default, and then notices a dead peer only after minutes.
    keepAlive: true,
    // Not longer than a caller may wait for a connection. For pg, 0 means no limit.
    connectionTimeoutMillis: Math.min(Math.ceil(settings.pool.acquireTimeoutMillis), dialTimeoutMillis(url)),
    types: TYPE_PARSERS,
  }
  return {
    connection: Object.fromEntries(Object.entries(connection).filter(([, value]) => value !== undefined)),
    ...(fallbackSsl !== undefined && { fallbackSsl }),
  }
}

/**
 * Makes a session of a new connection. Behind a pooler such as PgBouncer it prepares statements only if the option
 * `preparedStatements` is set: the next statement may run in another server process, which does not know them. A pooler is
 * recognised by its process id, which differs from that of the server process.
 */
async function openSession(
  raw: RawConnection,
  { preparedStatements: asked }: Settings,
  signal: AbortSignal,
  arrays: ArrayTypes,
): Promise<PostgresSession> {
  const settings = await destroyOnAbort({ raw }, signal, applySessionSettings(raw))
  const isBehindPooler = settings.pid !== raw.processID
  const mostPrepared = asked ?? (isBehindPooler ? 0 : DEFAULT_PREPARED_STATEMENTS)
  return new PostgresSession(raw, settings, arrays, mostPrepared)
}

/** What would end a transaction that does nothing: it lasts as long as the work that has the lock. */
const IDLE_TIMEOUTS = ['idle_in_transaction_session_timeout', 'transaction_timeout']

/**
 * Opens a connection for an advisory lock of a transaction, which the server releases when that transaction ends, and so when its
 * connection does. One of the session would exclude nobody behind a pooler that lends server processes by the transaction. The
 * lock is not yet taken. https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS
 */
async function advisoryLock(
  name: string,
  open: () => Promise<Session>,
  lost: () => void,
  signal: AbortSignal,
): Promise<NamedLock> {
  // At another level the transaction would keep one snapshot until its end.
  const begin = ownStatement('BEGIN ISOLATION LEVEL READ COMMITTED', [], { verb: 'BEGIN' })
  const lock = ownStatement('SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0)) AS entered', [name])
  const keep = ownStatement(
    "SELECT set_config(name, '0', true) FROM pg_settings WHERE name = ANY ($1) AND setting <> '0'",
    [IDLE_TIMEOUTS],
  )
  // The server keeps the snapshot of a query until the next statement, and CREATE INDEX CONCURRENTLY waits for all snapshots.
  const letSnapshotGo = ownStatement('SAVEPOINT millpond_lock', [], { verb: 'SAVEPOINT' })
  const rollback = ownStatement('ROLLBACK', [], { verb: 'ROLLBACK' })
  const session = await open()
  session.onLost(lost)
  signal.addEventListener('abort', () => {
    session.destroy()
  })
  return {
    async tryLock() {
      await session.run(begin)
      const { rows } = await session.run(lock)
      const entered = (rows[0] as { entered: boolean } | undefined)?.entered === true
      // A waiter keeps no transaction open, and behind a pooler no server process.
      if (entered) await session.run(keep)
      await session.run(entered ? letSnapshotGo : rollback)
      return entered
    },
    async unlock() {
      if (session.broken === null && session.inTransaction) await session.run(rollback).catch(() => undefined)
      await session.close()
    },
  }
}

/** The server cuts longer identifiers, so that a long name would be another channel than the one that is meant. */
const LONGEST_NAME_BYTES = 63

/** https://www.postgresql.org/docs/current/sql-listen.html */
const NOTIFICATIONS: Notifications = {
  listen: (channel) => ownStatement(`LISTEN ${quotedChannel(channel)}`),
  unlisten: (channel) => ownStatement(`UNLISTEN ${quotedChannel(channel)}`),
  watch(session, notified) {
    const { raw } = session as PostgresSession
    raw.on('notification', ({ channel, payload = '' }) => {
      notified(channel, payload)
    })
  },
}

function quotedChannel(name: string): string {
  const bytes = typeof name === 'string' && !name.includes('\0') ? Buffer.byteLength(name) : 0
  if (bytes < 1 || bytes > LONGEST_NAME_BYTES)
    throw new ConfigurationError(
      `The name of a channel is a text of 1 to ${LONGEST_NAME_BYTES} bytes, as PostgreSQL's identifiers are, got ${inspect(name)}.`,
    )
  return `"${name.replaceAll('"', '""')}"`
}

const LOCAL = new BlockList()
LOCAL.addSubnet('127.0.0.0', 8)
LOCAL.addAddress('::1', 'ipv6')

/** Judges the address, not the host name: names other than `localhost` can stand for a loopback address. */
export function isRemoteAddress(address: string | undefined): boolean {
  // A Unix domain socket has no address.
  if (address === undefined) return false
  return !LOCAL.check(address, isIPv6(address) ? 'ipv6' : 'ipv4')
}

async function security(raw: object, ask: (sql: string) => Promise<unknown>): Promise<Security> {
  const { stream } = (raw as RawConnection).connection
  return {
    isSuperuser: (await ask("SELECT current_setting('is_superuser')")) === 'on',
    isRemote: isRemoteAddress(stream.remoteAddress),
    // Not from pg_stat_ssl: behind a pooler that describes the connection between the pooler and the server.
    isEncrypted: stream instanceof TLSSocket,
  }
}
