/** What processes that counted together have to tell, as figures. */
import type { LoadReport } from './counting-load'

export interface CountingFigures {
  /** Those that were acknowledged. */
  readonly transactions: number
  readonly failed: number
  readonly slowestMillis: number
  readonly medianMillis: number
  /** How many transactions of each were acknowledged. */
  readonly perProcess: readonly number[]
  readonly looks: number
}

export function figuresOf(reports: readonly LoadReport[]): CountingFigures {
  const failures = reports.flatMap((report) => report.failures)
  const answered = reports.flatMap(({ millis }) => millis).toSorted((a, b) => a - b)
  return {
    transactions: answered.length,
    failed: failures.length,
    // One that failed has made its caller wait as well.
    slowestMillis: Math.max(answered.at(-1) ?? 0, ...failures.map(({ millis }) => millis)),
    medianMillis: answered[Math.floor(answered.length / 2)] ?? NaN,
    perProcess: reports.map(({ ids }) => ids.length),
    looks: reports.reduce((sum, { looks }) => sum + looks, 0),
  }
}
