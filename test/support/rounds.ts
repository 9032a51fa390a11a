/** The number of rounds of a random test: few in `npm test`, many in `npm run test:long`, or that of a variable of its own. */

const isLong = process.env['MILLPOND_LONG'] !== undefined

export function rounds(few: number, many: number, variable?: string): number {
  const own = variable === undefined ? undefined : process.env[variable]
  return own === undefined ? (isLong ? many : few) : Number(own)
}
