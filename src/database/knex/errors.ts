/** Makes errors look as programs on Knex expect them: with the driver's code, fields and message. */
import knex from 'knex'
import { DatabaseError, QueryCanceledError, QueryError, QueryTimeoutError } from '../errors'
import { codeOf, messageWithoutData, withoutValues } from '../driver/driver-error'

interface DriverError extends Error {
  readonly primaryCode?: string
  readonly errno?: number
}

/**
 * Copies the driver's fields to the library's error: `code`, `detail`, `constraint`, `errno` and so on, and the message.
 * The error keeps its class and its other fields. Errors that do not come from a driver stay as they are.
 */
export function restoreDriverFields(error: unknown, bindings: readonly unknown[]): unknown {
  if (!(error instanceof DatabaseError) || error.cause instanceof DatabaseError) return error
  // The library itself caused these, so they keep its code and message.
  if (error instanceof QueryTimeoutError || error instanceof QueryCanceledError) return error
  const code = codeOf(error.cause)
  if (code === '') return error
  const { name: _, primaryCode = code, ...fields } = error.cause as DriverError
  if (primaryCode === error.code) return error
  Object.assign(error, fields, { code: primaryCode })
  // One of SQLite's drivers reports extended codes; programs on Knex expect the primary ones.
  if (primaryCode !== code) Object.assign(error, { errno: Number(fields.errno) & 0xff })
  if (!(error instanceof QueryError)) return error
  error.message = messageWithoutData(error.cause).replace(code, primaryCode)
  return withoutValues(error, bindings)
}

/** Returns the error that `.timeout(ms)` of a builder rejects with. Knex writes the message. */
export function knexTimeout(cause: QueryTimeoutError): Error {
  return Object.defineProperty(new knex.KnexTimeoutError(cause.message), 'cause', { value: cause })
}
