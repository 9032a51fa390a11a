/** SQLite: how to write for it, connect to it, and read its errors. Its drivers stand behind the contract in driver.ts. */
import { types } from 'node:util'
import type { Knex } from 'knex'
import type { ConnectFailure, Dialect } from '../driver/dialect'
import { messageOf } from '../driver/driver-error'
import { ConfigurationError, ConnectionError, DatabaseError } from '../errors'
import type { DatabaseURL } from '../url'
import { CompilingClient } from './compiling-client'
import type { SqliteConnection, SqliteDriver } from './driver'
import { translate } from './errors'
import { SQLITE_LEXICON } from './lexicon'
import { fileLock, nameLock } from './lock-file'
import { openConnection, openSession } from './open-session'
import { textOfDate } from './rows'
import type { SqliteSession } from './session'
import { type SharedFile, sharedFileOf } from './shared-file'

/** Each is loaded when it is asked for, and is never chosen by itself. */
const DRIVERS: Readonly<Record<string, () => { readonly driver: SqliteDriver }>> = {
  sqlite3: () => require('./sqlite3') as { driver: SqliteDriver },
  appthreat: () => require('./appthreat') as { driver: SqliteDriver },
}

/** SQLite takes 32 766 placeholders in one statement; a list of this length is bound as one JSON text. */
const LONG_LIST = 1000

export function sqlite(url: DatabaseURL): Dialect {
  checkParameters(url)
  const driver = driverOf(url)
  const taken = new Set<string>()
  let shared: SharedFile | undefined
  // Found when it is needed first, since a Database is made without a look at any file.
  const sharedFile = (): SharedFile => (shared ??= sharedFileOf(url))
  return {
    name: 'sqlite',
    isSingle: url.isMemory,
    runsMultiStatements: false,
    errorAbortsTransaction: false,
    // It may wait for another process before it looks whether it was interrupted.
    cancelGraceMillis: 6000,
    lexicon: SQLITE_LEXICON,

    // Numbered, so that a name that occurs twice is bound once.
    placeholder: (n) => `?${n}`,
    writeList(before, _isNegated, values, bind) {
      const json = values.length > LONG_LIST && values.every(isJsonScalar) ? JSON.stringify(values) : '\\u'
      // SQLite ends a text at its first NUL, and takes half of a pair of surrogates for a character.
      if (json.includes('\\u')) return before + values.map(bind).join(', ')
      return `${before}SELECT +value FROM json_each(${bind(json)})`
    },
    toDriver,
    toDriverFromBuilder: (value) => (isDocument(value) ? JSON.stringify(value) : toDriver(value)),

    Client: CompilingClient,
    // As Knex's own: a migration that makes a table anew would delete what refers to its rows.
    commandLine: { setUp: ['PRAGMA foreign_keys = OFF'] },
    knexConfig: () => knexConfig(url),
    // A file is there or is not: there is nothing to wait for.
    dial: (client) => openConnection(url, filenameOf(client), driver, sharedFile()),
    open: (connection) => openSession(connection as SqliteConnection, sharedFile()),
    // Who may open the file is asked of the system, and nothing leaves this machine.
    security: () => Promise.resolve({ isSuperuser: false, isRemote: false, isEncrypted: false }),

    // A transaction that is going to write says so at once: the change from reader to writer half-way fails with
    // SQLITE_BUSY without waiting. Isolation is always serializable, whatever less was asked for.
    begin({ readOnly }, session) {
      // A connection that may not write cannot say so, and stays as it is.
      if ((session as SqliteSession).isReadOnly) return { open: ['BEGIN DEFERRED'], close: [] }
      return readOnly === true
        ? { open: ['PRAGMA query_only = ON', 'BEGIN DEFERRED'], close: ['PRAGMA query_only = OFF'] }
        : { open: ['BEGIN IMMEDIATE'], close: [] }
    },
    // One at a time takes a connection in order to write; the others wait without holding one.
    get writeMutex() {
      return sharedFile().writeMutex
    },

    namedLock: (name) =>
      url.isMemory ? Promise.resolve(nameLock(name, taken)) : fileLock(name, url, driver),

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

/** A configuration for Knex: ours, and the one that the Knex CLI reads. */
export function knexConfig(url: DatabaseURL): Knex.Config {
  return { connection: { filename: url.database }, useNullAsDefault: true }
}

/** What a knexfile may have changed. */
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
        ? '`npm install sqlite3`, and allow its install script, which pnpm blocks'
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

/** The value as every driver binds it; a Date as text, as SQLite's own date functions write it. */
function toDriver(value: unknown): unknown {
  if (value === undefined) throw new Error('is undefined. Give null for NULL.')
  // 2^63 is refused as a number too: not every driver binds it as the same value.
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
  // The drivers take every other view of memory as it is.
  if (value instanceof DataView) return Buffer.from(value.buffer, value.byteOffset, value.byteLength)
  if (Array.isArray(value))
    throw new Error('is an array, which SQLite has no type for. Inside IN (:ids) it is spread.')
  if (isDocument(value))
    throw new Error('is an object where a scalar belongs. Write json(value) if you mean a JSON document.')
  return value
}
