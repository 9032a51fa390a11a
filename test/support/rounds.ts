/** How long tests of chance go on: shortly in `npm test`, at length in `npm run test:long`, or as a variable of their own says. */

const isLong = process.env['MILLPOND_LONG'] !== undefined

export function rounds(few: number, many: number, variable?: string): number {
  const own = variable === undefined ? undefined : process.env[variable]
  return own === undefined ? (isLong ? many : few) : Number(own)
}
