/** Writes values as the parameters of a statement: as pg does, but for what it would store as something else. */
import { types } from 'node:util'
import pg from 'pg'
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
