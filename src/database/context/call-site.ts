/** Where in the program something was done: the first line of a stack that is neither ours nor Node's. */

/** Deep enough for our own lines and some of the program's. */
const STACK_DEPTH = 30

const LIBRARY_LINE = /\bnode:|[\\/]node_modules[\\/](?:knex|tarn|pg|express|router)[\\/]/

/** Remembers this moment's stack. Costs some microseconds: for what is rare, or asked for. */
export function captureCallSite(): Error {
  const limit = Error.stackTraceLimit
  Error.stackTraceLimit = STACK_DEPTH
  const error = new Error('here')
  Error.stackTraceLimit = limit
  return error
}

/** Such as `at transfer (/app/src/accounts.ts:12:18)`, or null when the stack has no such line. */
export function siteOf(error: Error | null): string | null {
  const [ours = '', ...lines] = error?.stack?.split('\n').slice(1) ?? []
  // As this stack names it, which with source maps is where its sources were.
  const folder = ours.slice(ours.indexOf('(') + 1, ours.search(/context[\\/]call-site\./))
  const site = lines.find((line) => !line.includes(folder) && !LIBRARY_LINE.test(line))
  return site === undefined || !/[:(]/.test(site) ? null : site.trim()
}
