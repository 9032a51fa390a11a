/** The dialect of SQLite: how to write SQL for it, connect to it, and read its errors. Its drivers implement driver.ts. */
import { types } from 'node:util'
import type { Knex } from 'knex'
import type { ConnectFailure, Dialect } from '../driver/dialect'
import { messageOf } from '../driver/driver-error'
import { Mutex } from '../context/mutex'
import { ConfigurationError, ConnectionError, DatabaseError } from '../errors'
import type { DatabaseURL } from '../url'
import { CompilingClient } from './compiling-client'
import { type DatabaseFile, databaseFileOf, fileLock, memoryLock } from './database-file'
import type { SqliteConnection, SqliteDriver } from './driver'
import { translate } from './errors'
import { textOfDate } from './rows'
import { SqliteSession } from './session'
import { SQLITE_LEXICON } from './statements'

/** The drivers by their name in the URL. A driver is loaded when a URL names it. */
const DRIVERS: Readonly<Record<string, () => { readonly driver: SqliteDriver }>> = {
  sqlite3: () => require('./sqlite3') as { driver: SqliteDriver },
  appthreat: () => require('./appthreat') as { driver: SqliteDriver },
}

/** SQLite takes 32 766 placeholders in one statement; a list of this length is bound as one JSON text. */
const LONG_LIST = 1000

/**
 * The text of a value with its storage class, since SQLite compares a number and a text by that. quote() writes literals with
 * all digits, but ends a text at a NUL.
 */
const EXACT_TEXT = "CASE typeof(??) WHEN 'text' THEN 't' || ?? WHEN 'null' THEN NULL ELSE quote(??) END"

function parseExact(text: string): unknown {
  if (text.startsWith('t')) return text.slice(1)
  const [, bytes] = /^X'((?:[0-9A-F]{2})*)'$/.exec(text) ?? []
  if (bytes !== undefined) return Buffer.from(bytes, 'hex')
  if (/^-?\d+$/.test(text)) return BigInt.asIntN(64, BigInt(text)) === BigInt(text) ? BigInt(text) : undefined
  // Infinity is written as 9.0e+999.
  return /^-?\d+\.\d+(?:e[+-]\d+)?$/.test(text) ? Number(text) : undefined
}

export function sqlite(url: DatabaseURL): Dialect {
  checkParameters(url)
  const driver = driverOf(url)
  /** By their names; of a database in memory only. */
  const locks = new Map<string, Mutex>()
  let found: DatabaseFile | undefined
  // Looked up at first use, because making a Database must not touch the file system.
  const databaseFile = (): DatabaseFile => (found ??= databaseFileOf(url))
  return {
    name: 'sqlite',
    isSingle: url.isMemory,
    runsMultiStatements: false,
    errorAbortsTransaction: false,
    // A statement may wait for another process before it notices that it was interrupted.
    cancelGraceMillis: 6000,
    lexicon: SQLITE_LEXICON,

    // Numbered, so that a value whose name occurs twice is bound once.
    placeholder: (n) => `?${n}`,
    writeList(before, _isNegated, values, bind) {
      const json = values.length > LONG_LIST && values.every(isJsonScalar) ? JSON.stringify(values) : '\\u'
      // JSON escapes NUL and lone surrogates as \u…, which SQLite would read differently from bound values.
      if (json.includes('\\u')) return before + values.map(bind).join(', ')
      return `${before}SELECT +value FROM json_each(${bind(json)})`
    },
    toDriver,
    toDriverFromBuilder: (value) => (isDocument(value) ? JSON.stringify(value) : toDriver(value)),

    exactTexts: (columns) => ({
      sql: `json_array(${columns.map(() => EXACT_TEXT).join(', ')})`,
      bindings: columns.flatMap((column) => [column, column, column]),
    }),
    parseExact,

    Client: CompilingClient,
    // As in Knex's own client: a migration that rebuilds a table would otherwise delete the rows that refer to it.
    commandLine: { setUp: ['PRAGMA foreign_keys = OFF'] },
    knexConfig: () => knexConfig(url),
    // Opening a file does not wait, so the signal is not needed.
    dial: (client) => databaseFile().open(filenameOf(client), driver, url),
    async open(connection) {
      await databaseFile().setUp(connection as SqliteConnection)
      return new SqliteSession(connection as SqliteConnection, databaseFile())
    },
    // SQLite has no users and no network.
    security: () => Promise.resolve({ isSuperuser: false, isRemote: false, isEncrypted: false }),

    // A transaction that may write begins IMMEDIATE: a change from reader to writer later can fail with SQLITE_BUSY
    // without waiting. Isolation is always serializable, even if a lower level was asked for.
    begin({ readOnly }, session) {
      // BEGIN IMMEDIATE fails on a read-only connection, and query_only must stay on.
      if ((session as SqliteSession).isReadOnly) return { open: ['BEGIN DEFERRED'], close: [] }
      return readOnly === true
        ? { open: ['PRAGMA query_only = ON', 'BEGIN DEFERRED'], close: ['PRAGMA query_only = OFF'] }
        : { open: ['BEGIN IMMEDIATE'], close: [] }
    },
    // One writer at a time takes a connection; the others wait without holding one.
    get writeMutex() {
      return databaseFile().writeMutex
    },

    async namedLock(name) {
      if (!url.isMemory) return fileLock(name, url, driver)
      const mutex = locks.get(name) ?? new Mutex()
      locks.set(name, mutex)
      return memoryLock(mutex)
    },
    notifications: null,

    translate,
    translateConnect(error): ConnectFailure {
      if (error instanceof DatabaseError) return { error, isTransient: false }
      const reason = messageOf(error)
      const advice = /CANTOPEN/.test(reason)
        ? ' Its folder must exist, and the file must be readable and writable.'
        : ''
      const isTransient = /SQLITE_(?:BUSY|LOCKED)/.test(reason)
      const message = `Could not open ${url.toString()}: ${reason}.${advice}`
      return { error: new ConnectionError(message, { cause: error, retryable: isTransient }), isTransient }
    },
  }
}

/** Returns the configuration for Knex, both for a Database and for the Knex CLI. */
export function knexConfig(url: DatabaseURL): Knex.Config {
  return { connection: { filename: url.database }, useNullAsDefault: true }
}

/** Returns the file of Knex's settings, which the option `knex` may have changed. */
function filenameOf(client: Knex.Client): string {
  return (client as unknown as { connectionSettings: { filename: string } }).connectionSettings.filename
}

/** @throws ConfigurationError when the driver that the URL names is not installed, or does not run on this Node */
function driverOf(url: DatabaseURL): SqliteDriver {
  const name = url.driver === '' ? 'sqlite3' : url.driver
  try {
    return (DRIVERS[name] as () => { readonly driver: SqliteDriver })().driver
  } catch (cause) {
    const how =
      name === 'sqlite3'
        ? '`npm install sqlite3`; with pnpm, also `pnpm approve-builds`, which lets it run its install script'
        : '`npm install @appthreat/sqlite3@9`, on Node 22 or later'
    throw new ConfigurationError(`The driver for ${url.toString()} cannot be loaded. Install it: ${how}.`, {
      cause,
    })
  }
}

const PARAMETERS: Readonly<Record<string, readonly string[]>> = {
  mode: ['ro', 'rw', 'rwc'],
  immutable: ['0', '1'],
}

/** @throws ConfigurationError for a value that a parameter of the URL cannot have */
function checkParameters({ options }: DatabaseURL): void {
  for (const [name, values] of Object.entries(PARAMETERS)) {
    const value = options[name]
    if (value === undefined || values.includes(value)) continue
    throw new ConfigurationError(
      `The parameter '${name}' of a SQLite URL is ${values.join(', ')}, got '${value}'.`,
    )
  }
}

function isJsonScalar(value: unknown): boolean {
  return typeof value === 'string' || Number.isSafeInteger(value)
}

function isDocument(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !types.isDate(value) && !ArrayBuffer.isView(value)
}

/** Returns the value in a form that every driver binds; a Date as text in the format of SQLite's date functions. */
function toDriver(value: unknown): unknown {
  if (value === undefined) throw new Error('is undefined. Give null for NULL.')
  // The number 2^63 is refused too: drivers bind it as different values.
  if ((typeof value === 'bigint' && BigInt.asIntN(64, value) !== value) || value === 2 ** 63)
    throw new Error('is beyond the 64 bits of an integer. Write it as text.')
  if (typeof value === 'number' && Number.isNaN(value))
    throw new Error('is NaN, which SQLite stores as NULL.')
  if (typeof value === 'function' || typeof value === 'symbol')
    throw new Error(`is a ${typeof value}, which no database stores.`)
  if (types.isDate(value)) {
    const year = value.getUTCFullYear()
    if (Number.isNaN(year)) throw new Error('is an invalid Date.')
    if (year < 0 || year > 9999)
      throw new Error('is a Date outside of the years 0 to 9999, whose text would not sort with others.')
    return textOfDate(value)
  }
  // The drivers bind typed arrays and Buffers, but not a DataView.
  if (value instanceof DataView) return Buffer.from(value.buffer, value.byteOffset, value.byteLength)
  if (Array.isArray(value))
    throw new Error('is an array, which SQLite has no type for. Inside IN (:ids) it is spread.')
  if (isDocument(value))
    throw new Error('is an object where a scalar belongs. Write json(value) if you mean a JSON document.')
  return value
}
