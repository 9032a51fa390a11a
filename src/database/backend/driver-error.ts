/** What a driver's error says, whatever it is made of. */

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
