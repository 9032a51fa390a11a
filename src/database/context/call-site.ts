/** Call sites: where the user's program called the library. */

/** Deep enough for the library's own lines and some of the program's. */
const STACK_DEPTH = 30

const LIBRARY_LINE = /\bnode:|[\\/]node_modules[\\/](?:knex|tarn|pg|express|router)[\\/]/

/** Unlike `at async Promise.all (index 0)` and `at readBatches.next (<anonymous>)`. */
const IN_A_FILE = /:\d+:\d+\)?$/

/** Captures the current stack. Costs some microseconds, so it is called only for what is rare, or asked for. */
export function captureCallSite(): Error {
  const limit = Error.stackTraceLimit
  Error.stackTraceLimit = STACK_DEPTH
  const error = new Error('here')
  Error.stackTraceLimit = limit
  return error
}

/** Returns the program's line of a stack, such as `at transfer (/app/src/accounts.ts:12:18)`; null if there is none. */
export function siteOf(error: Error | null): string | null {
  const [ours = '', ...lines] = error?.stack?.split('\n').slice(1) ?? []
  // The library's folder as this stack names it: with source maps, that is where its sources were.
  const folder = ours.slice(ours.indexOf('(') + 1, ours.search(/context[\\/]call-site\./))
  const site = lines.find(
    (line) => IN_A_FILE.test(line) && !line.includes(folder) && !LIBRARY_LINE.test(line),
  )
  return site?.trim() ?? null
}
