/** The figures of a pool at one moment. */
import type { PoolOptions } from '../options'

export interface PoolStats {
  /** Connections that are kept, and how many more may be open for a while. */
  readonly size: number
  readonly maxOverflow: number
  /** Now. */
  readonly used: number
  readonly idle: number
  readonly creating: number
  readonly waiting: number
  /** Since connect(). */
  readonly acquired: number
  readonly waited: number
  readonly timedOut: number
  readonly created: number
  readonly retired: number
}

/** Returns the figures of a pool that is not open. */
export function noStats({ size, maxOverflow }: Required<PoolOptions>): PoolStats {
  const now = { used: 0, idle: 0, creating: 0, waiting: 0 }
  return { size, maxOverflow, ...now, acquired: 0, waited: 0, timedOut: 0, created: 0, retired: 0 }
}
