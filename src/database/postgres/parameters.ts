/** The parameters of a statement: written as pg writes them, but for what it would store as something else, and limited. */
import { types } from 'node:util'
import pg from 'pg'
import { BindError } from '../errors'
import type { Statement } from '../driver/statement'
import { prepareValue } from './pg-client'

export type Parameter = string | Buffer | null

/**
 * Returns the value as it is sent: text, bytes, or null.
 *
 * @throws what pg throws for a value that it cannot write
 */
export function toParameter(value: unknown): Parameter {
  if (typeof value === 'string') return value
  if (typeof value === 'number') return String(value)
  return Array.isArray(value) && value.length === 0 ? EMPTY_ARRAY : prepareValue(withOffsetSeconds(value))
}

/**
 * pg writes an empty array as `{}`, which a JSON column would silently store as an empty object, though it refuses all
 * other arrays. A form feed is white space in an array's text and an error in JSON.
 */
const EMPTY_ARRAY = '\f{}'

/**
 * Returns a Date as text if its local time differs from UTC by a number of seconds that is not whole minutes, as before time
 * zones existed: pg writes local times and leaves out the seconds of the offset. Returns other values unchanged.
 */
function withOffsetSeconds(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withOffsetSeconds)
  if (!types.isDate(value) || pg.defaults.parseInputDatesAsUTC) return value
  if (Number.isNaN(value.getTime()) || value.getSeconds() === value.getUTCSeconds()) return value
  const local = new Date(0)
  local.setUTCFullYear(value.getFullYear(), value.getMonth(), value.getDate())
  local.setUTCHours(value.getHours(), value.getMinutes(), value.getSeconds(), value.getMilliseconds())
  const seconds = (local.getTime() - value.getTime()) / 1000
  const parts = [seconds / 3600, (seconds / 60) % 60, seconds % 60].map((part) =>
    String(Math.trunc(Math.abs(part))).padStart(2, '0'),
  )
  return String(prepareValue(value)).replace(
    /[+-]\d\d:\d\d(?= BC$|$)/,
    `${seconds < 0 ? '-' : '+'}${parts.join(':')}`,
  )
}

/** Returns an error for a statement at which PostgreSQL would close the connection without a reason; else null. */
export function limitError({ bindings, sql }: Pick<Statement, 'bindings' | 'sql'>): BindError | null {
  const count = bindings.length
  if (count > MAX_VALUES) {
    return new BindError(
      `The statement has ${count} values, and PostgreSQL takes ${MAX_VALUES} at most. A list is one value in SQL text: … IN (:ids).`,
      sql,
    )
  }
  if (!isTooLarge(sql, bindings, maxBytesOf) || !isTooLarge(sql, bindings, bytesOf)) return null
  return new BindError(
    'The statement and its values are larger than 1 GB, which is the most that PostgreSQL takes.',
    sql,
  )
}

/** The protocol counts values in 16 bits: https://www.postgresql.org/docs/current/protocol-message-formats.html#PROTOCOL-MESSAGE-FORMATS-BIND */
const MAX_VALUES = 65_535
/** The largest message in bytes, a little below PostgreSQL's limit, PQ_LARGE_MESSAGE_LIMIT. */
const MAX_MESSAGE_BYTES = 1_073_000_000

function isTooLarge(sql: string, bindings: readonly unknown[], sizeOf: (value: unknown) => number): boolean {
  let size = sizeOf(sql)
  for (const value of bindings) size += sizeOf(value)
  return size > MAX_MESSAGE_BYTES
}

/** Returns an upper bound of the bytes of a value without counting them. */
function maxBytesOf(value: unknown): number {
  if (typeof value === 'string') return 3 * value.length
  return ArrayBuffer.isView(value) ? value.byteLength : 0
}

function bytesOf(value: unknown): number {
  return typeof value === 'string' ? Buffer.byteLength(value) : maxBytesOf(value)
}
