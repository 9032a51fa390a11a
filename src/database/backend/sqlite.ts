/** SQLite, through sqlite3: how to write for it, connect to it, and read its errors. Nobody else knows the driver. */
import knex, { type Knex } from 'knex'
import {
  CheckViolationError,
  ConnectionError,
  ConstraintViolationError,
  DatabaseError,
  ForeignKeyViolationError,
  NotNullViolationError,
  QueryCanceledError,
  QueryError,
  SerializationError,
  UniqueViolationError,
  type Violation,
} from '../errors'
import type { DatabaseURL } from '../url'
import type { ConnectFailure, Dialect } from './dialect'
import { messageOf } from './driver-error'
import type { RawConnection } from './sqlite-driver'
import { fileLock, nameLock } from './sqlite-exclusion'
import { fileOf } from './sqlite-file'
import { SQLITE_LEXICON } from './sqlite-lexicon'
import { openSession } from './sqlite-opening'
import type { SqliteSession } from './sqlite-session'

/** SQLite takes 32 766 placeholders in one statement; a list of this length is bound as one JSON text. */
const LONG_LIST = 1000

export function sqlite(url: DatabaseURL): Dialect {
  const file = fileOf(url)
  const taken = new Set<string>()
  return {
    name: 'sqlite',
    isSingle: url.isMemory,
    runsSeveral: false,
    errorAbortsTransaction: false,
    // It may wait for another process before it looks whether it was interrupted.
    cancelGraceMillis: 6000,
    lexicon: SQLITE_LEXICON,

    // Numbered, so that a name that occurs twice is bound once.
    placeholder: (n, value) => (isBeyondNumbers(value) ? `CAST(?${n} AS INTEGER)` : `?${n}`),
    isUsual: (value) => !isBeyondNumbers(value),
    writeList(before, _isNegated, values, bind) {
      const isLong = values.length > LONG_LIST && values.every(isJsonScalar)
      if (!isLong) return before + values.map(bind).join(', ')
      return `${before}SELECT value FROM json_each(${bind(JSON.stringify(values))})`
    },
    toDriver,
    toDriverFromBuilder: (value) => (isDocument(value) ? JSON.stringify(value) : toDriver(value)),

    Client: knex({ client: 'sqlite3', useNullAsDefault: true }).client.constructor as typeof Knex.Client,
    commandLineClient: 'sqlite3',
    knexConfig: () => knexConfig(url),
    // A file is there or is not: there is nothing to wait for.
    dial: (client) => client.acquireRawConnection() as Promise<object>,
    open: (raw) => openSession(raw as RawConnection, file),
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
    door: file.door,

    exclusion: (name) => (url.isMemory ? Promise.resolve(nameLock(name, taken)) : fileLock(name, url)),

    translate,
    translateConnect(error): ConnectFailure {
      if (error instanceof DatabaseError) return { error, isTransient: false }
      const reason = messageOf(error)
      const advice = /CANTOPEN/.test(reason)
        ? ' Its folder must exist, and the file must be readable and writable.'
        : ''
      return {
        error: new ConnectionError(`Could not open ${url.toString()}: ${reason}.${advice}`, { cause: error }),
        isTransient: /SQLITE_BUSY/.test(reason),
      }
    },
  }
}

/** A configuration for Knex: ours, and the one that the Knex CLI reads. */
export function knexConfig(url: DatabaseURL): Knex.Config {
  return { connection: { filename: url.database }, useNullAsDefault: true }
}

function isJsonScalar(value: unknown): boolean {
  return typeof value === 'string' || (typeof value === 'number' && Number.isFinite(value))
}

function isDocument(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !(value instanceof Date) && !ArrayBuffer.isView(value)
}

/** Bound as text, since the driver knows no larger integers than JavaScript's numbers hold exactly. */
function isBeyondNumbers(value: unknown): boolean {
  return typeof value === 'bigint' && !Number.isSafeInteger(Number(value))
}

/** The driver stores NULL for a BigInt and a rounded number for a Date, without a word: neither may reach it. */
function toDriver(value: unknown): unknown {
  if (value === undefined) throw new Error('is undefined. Give null for NULL.')
  if (typeof value === 'bigint') return isBeyondNumbers(value) ? value.toString() : Number(value)
  if (typeof value === 'number' && Number.isNaN(value))
    throw new Error('is NaN, which SQLite stores as NULL.')
  if (typeof value === 'function' || typeof value === 'symbol')
    throw new Error(`is a ${typeof value}, which no database stores.`)
  if (value instanceof Date) {
    if (Number.isNaN(value.getTime())) throw new Error('is an invalid Date.')
    // As SQLite's own date functions write it, so that the two compare.
    return value.toISOString().replace('T', ' ').replace('Z', '')
  }
  // The driver takes every other view of memory as it is.
  if (value instanceof DataView) return Buffer.from(value.buffer, value.byteOffset, value.byteLength)
  if (Array.isArray(value))
    throw new Error('is an array, which SQLite has no type for. Inside IN (:ids) it is spread.')
  if (isDocument(value))
    throw new Error('is an object where a scalar belongs. Write json(value) if you mean a JSON document.')
  return value
}

/** The driver shows the primary result code only, so the constraint's kind and columns are read from the message. */
function translate(error: unknown, sql: string): DatabaseError {
  if (error instanceof DatabaseError) return error
  const message = messageOf(error)
  const [, code = '', text = message] = /^(SQLITE_[A-Z]+): (.*)$/s.exec(message) ?? []
  const cause = { cause: error }
  switch (code) {
    case 'SQLITE_CONSTRAINT':
      return translateViolation(text, sql, cause)
    case 'SQLITE_BUSY':
    case 'SQLITE_LOCKED':
      return new SerializationError(
        'The database file was locked for too long, by another process or by a statement on connection.raw of this ' +
          'one. Run the transaction again: transaction(work, { retries: 3 }) does.',
        sql,
        cause,
      )
    case 'SQLITE_INTERRUPT':
      return new QueryCanceledError('The statement was interrupted.', sql, cause)
    case 'SQLITE_MISUSE':
      return new ConnectionError(`The connection to the database file is closed: ${text}.`, cause)
    default:
      return new QueryError(text, sql, cause)
  }
}

function translateViolation(text: string, sql: string, cause: ErrorOptions): ConstraintViolationError {
  const [, kind = '', rest = ''] =
    /^(UNIQUE|NOT NULL|FOREIGN KEY|CHECK) constraint failed(?:: (.*))?$/s.exec(text) ?? []
  const violation = kind === 'CHECK' ? { constraint: rest, table: null, columns: [] } : columnsOf(rest)
  switch (kind) {
    case 'UNIQUE':
      return new UniqueViolationError(
        `The row exists already: its key is taken (${rest}).`,
        sql,
        violation,
        cause,
      )
    case 'NOT NULL':
      return new NotNullViolationError(
        `Column ${violation.columns.join(', ')} must have a value.`,
        sql,
        violation,
        cause,
      )
    case 'FOREIGN KEY':
      return new ForeignKeyViolationError(
        'A row that is referred to does not exist, or is still referred to.',
        sql,
        violation,
        cause,
      )
    case 'CHECK':
      return new CheckViolationError(`A check of the table refused the row (${rest}).`, sql, violation, cause)
    default:
      return new ConstraintViolationError(`A constraint refused the row: ${text}.`, sql, violation, cause)
  }
}

/** `users.tenant, users.email` -> the table and its columns; `index 'name'` -> the constraint. */
function columnsOf(text: string): Violation {
  const index = /^index '(.*)'$/.exec(text)
  if (index) return { constraint: index[1] ?? null, table: null, columns: [] }
  const pairs = text === '' ? [] : text.split(', ').map((column) => column.split('.'))
  return {
    constraint: null,
    table: pairs[0]?.[0] ?? null,
    columns: pairs.flatMap(([, column]) => column ?? []),
  }
}
