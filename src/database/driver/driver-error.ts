/** Reads the errors of drivers, whatever their class. */
import type { DatabaseError } from '../errors'

/** Returns the message. Without `instanceof`, since errors of addons and of Node may be of another realm, as under jest. */
export function messageOf(error: unknown): string {
  if (typeof error === 'object' && error !== null && 'message' in error) return String(error.message)
  return String(error)
}

/** Returns the SQLSTATE, or Node's code such as ECONNREFUSED; an empty string if there is none. */
export function codeOf(error: unknown): string {
  if (typeof error !== 'object' || error === null) return ''
  if ('code' in error && typeof error.code === 'string') return error.code
  // Node tries every address of a host, and then throws one error for all of them.
  return 'errors' in error && Array.isArray(error.errors) ? codeOf(error.errors[0]) : ''
}

/** Returns the function of PostgreSQL's source that made the error; an empty string if it is not known. */
function routineOf(error: unknown): string {
  return typeof error === 'object' && error !== null && 'routine' in error ? String(error.routine) : ''
}

/** Returns the message without data. Class 22 of SQLSTATE quotes it: `invalid input syntax for type integer: "abc"`. */
export function messageWithoutData(error: unknown): string {
  const message = messageOf(error)
  return codeOf(error).startsWith('22') ? message.replace(/".*"/s, '"…"') : message
}

/** True for an error about a string that is longer than V8 allows: 512 MB of ASCII. */
export function isStringTooLong(error: unknown): boolean {
  return codeOf(error) === 'ERR_STRING_TOO_LONG' || messageOf(error) === 'Invalid string length'
}

/** Shorter bound strings stay in a message: hiding them would also hide other words. */
const MIN_HIDDEN_LENGTH = 3

/** Quoted parts of a message: words outside of quotes are the database's own, even if they equal a value. */
const QUOTED = /"[^"]*"|'[^']*'|`[^`]*`/g

/** Replaces bound values that a message quotes by `…`. */
export function withoutValues<E extends DatabaseError>(error: E, bindings: readonly unknown[]): E {
  const texts = bindings
    .flat(Infinity)
    .filter((value): value is string => typeof value === 'string' && value.length >= MIN_HIDDEN_LENGTH)
  const { message } = error
  const hidden = message.replaceAll(QUOTED, (quoted) => {
    return texts.reduce((text, value) => text.replaceAll(value, () => '…'), quoted)
  })
  if (hidden === message) return error
  error.stack = error.stack?.replace(message, () => hidden) ?? ''
  error.message = hidden
  return error
}

const MAX_REDACTED_LENGTH = 300

/**
 * Returns the first line of the message without quoted parts, which may be values that the text of a statement had. Later
 * lines have holders' statements.
 */
export function redactedMessage({ cause, message }: DatabaseError): string {
  // The message of a RAISE in a function of the database may contain values in any form, whatever its SQLSTATE is.
  if (routineOf(cause) === 'exec_stmt_raise')
    return `Raised by a function in the database. (SQLSTATE ${codeOf(cause)})`
  if (message.includes('(SQLSTATE P0001)')) return 'Raised by a function in the database. (SQLSTATE P0001)'
  const [first = ''] = message.split('\n')
  const hidden = first.replace(/"[^"]*"/g, '"…"').replace(/'[^']*'/g, "'…'")
  return hidden.length > MAX_REDACTED_LENGTH ? `${hidden.slice(0, MAX_REDACTED_LENGTH)}…` : hidden
}
