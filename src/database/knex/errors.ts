/** Errors as programs on Knex look for them: under the driver's own code and fields, and in its words. */
import knex from 'knex'
import { DatabaseError, QueryCanceledError, QueryError, QueryTimeoutError } from '../errors'
import { codeOf, messageWithoutData, withoutValues } from '../driver/driver-error'

interface DriverError extends Error {
  readonly primaryCode?: string
  readonly errno?: number
}

/**
 * Puts what the driver has said on the error of ours that it became: `code`, `detail`, `constraint`, `errno` and so on.
 * Its class stays, and so does what the driver does not say. Errors that no driver has made are left as they are.
 */
export function asDriverSays(error: unknown, bindings: readonly unknown[]): unknown {
  if (!(error instanceof DatabaseError) || error.cause instanceof DatabaseError) return error
  // These are of our own making, whatever the database calls them.
  if (error instanceof QueryTimeoutError || error instanceof QueryCanceledError) return error
  const code = codeOf(error.cause)
  if (code === '') return error
  const { name: _, primaryCode = code, ...fields } = error.cause as DriverError
  if (primaryCode === error.code) return error
  Object.assign(error, fields, { code: primaryCode })
  // One of SQLite's drivers has extended codes, by which nobody who knows Knex's own knows an error.
  if (primaryCode !== code) Object.assign(error, { errno: Number(fields.errno) & 0xff })
  if (!(error instanceof QueryError)) return error
  error.message = messageWithoutData(error.cause).replace(code, primaryCode)
  return withoutValues(error, bindings)
}

/** What `.timeout(ms)` of a builder rejects with. Knex writes the message itself. */
export function knexTimeout(cause: QueryTimeoutError): Error {
  return Object.defineProperty(new knex.KnexTimeoutError(cause.message), 'cause', { value: cause })
}
