/** Where a stream is read: on a connection of its own, or piece by piece on one that others use as well. */
import { because } from './transaction-control'
import type { Lease, StreamSource, Work } from './lease'
import type { Pool } from './pool'
import { within } from '../context/watchdog'
import { Limits } from '../context/limits'

/** How long a piece that nobody waits for may take before it is called off: most are there in a moment. */
const PATIENCE_MILLIS = 50

/** One connection from the first piece to the last, with nobody else on it. */
export function dedicatedSource(pool: Pool, limits: Limits): StreamSource {
  let lease: Lease | undefined
  let last: Promise<unknown> = Promise.resolve()
  const use = async <T>(work: Work<T>): Promise<T> =>
    work((lease ??= await pool.lend(limits, { writes: false })), limits)
  return {
    alone: true,
    use: (work) => {
      const using = use(work)
      last = using
      return using
    },
    close: async (work) => {
      if (lease === undefined) return
      if (lease.isBusy) {
        await within(PATIENCE_MILLIS, last).catch(() => undefined)
        await lease.interrupt(because('nobody waits for the rest of its rows'))
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
    alone: false,
    use: (work) => use(limits, work),
    close: (work) => use(Limits.none, work),
    release: () => Promise.resolve(),
  }
}
