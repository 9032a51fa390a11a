/** Where a stream is read: on a connection of its own, or piece by piece on one that others use as well. */
import { cancelledBecause } from './transaction-control'
import type { Lease, StreamSource, Work } from './lease'
import type { Pool } from './pool'
import { waitAtMost } from '../context/watchdog'
import { Limits } from '../context/limits'

/** How long a piece that nobody waits for may take before it is called off: most are there in a moment. */
const LAST_READ_MILLIS = 50

/** One connection from the first piece to the last, with nobody else on it. */
export function dedicatedSource(pool: Pool, limits: Limits): StreamSource {
  let lease: Lease | undefined
  let lastRead: Promise<unknown> = Promise.resolve()
  const use = async <T>(work: Work<T>): Promise<T> =>
    work((lease ??= await pool.lend(limits, { writes: false })), limits)
  return {
    isExclusive: true,
    use: (work) => {
      const using = use(work)
      lastRead = using
      return using
    },
    close: async (work) => {
      if (lease === undefined) return
      if (lease.isBusy) {
        await waitAtMost(LAST_READ_MILLIS, lastRead).catch(() => undefined)
        await lease.interrupt(cancelledBecause('nobody waits for the rest of its rows'))
      }
      await work(lease, limits)
    },
    release: async () => {
      if (lease !== undefined) await pool.release(lease)
    },
  }
}

/** Each piece takes its turn anew, so that others have theirs in between. */
export function sharedSource(
  limits: Limits,
  use: <T>(limits: Limits, work: Work<T>) => Promise<T>,
): StreamSource {
  return {
    isExclusive: false,
    use: (work) => use(limits, work),
    close: (work) => use(Limits.none, work),
    release: () => Promise.resolve(),
  }
}
