/** What a driver's error says, whatever it is made of. */
import type { DatabaseError } from '../errors'

/** Not by `instanceof`: errors of native addons and of Node itself may belong to another realm, as they do under jest. */
export function messageOf(error: unknown): string {
  if (typeof error === 'object' && error !== null && 'message' in error) return String(error.message)
  return String(error)
}

/** A SQLSTATE, or one of Node's codes such as ECONNREFUSED; an empty text when there is none. */
export function codeOf(error: unknown): string {
  if (typeof error !== 'object' || error === null) return ''
  if ('code' in error && typeof error.code === 'string') return error.code
  // Node tries every address of a host, and then throws one error for all of them.
  return 'errors' in error && Array.isArray(error.errors) ? codeOf(error.errors[0]) : ''
}

/** What it says without the values that it says: SQLSTATEs of class 22 are about data: `invalid input syntax for type integer: "abc"`. */
export function messageWithoutData(error: unknown): string {
  const message = messageOf(error)
  return codeOf(error).startsWith('22') ? message.replace(/".*"/s, '"…"') : message
}

/** Whether something was to become a string that is longer than V8 has any: 512 MB of ASCII. */
export function isStringTooLong(error: unknown): boolean {
  return codeOf(error) === 'ERR_STRING_TOO_LONG' || messageOf(error) === 'Invalid string length'
}

/** Bound texts that the database quotes back. Shorter ones would hide words that are none of them. */
const MIN_HIDDEN_LENGTH = 3

/** What a message quotes. Outside of that its words are its own, even if a value is one of them. */
const QUOTED = /"[^"]*"|'[^']*'|`[^`]*`/g

/** Takes bound values out of a message, which a driver may have quoted. */
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
