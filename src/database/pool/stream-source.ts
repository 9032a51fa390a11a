/** Where a stream is read: on a connection of its own, or batch by batch on one that other statements share. */
import { cancelledBecause } from './transaction-control'
import type { Lease, StreamSource, Work } from './lease'
import { waitAtMost } from '../context/timers'
import { Limits } from '../context/limits'

/** The part of the pool that is used here. */
interface Lender {
  lend(limits: Limits, options: { readonly writes: boolean }): Promise<Lease>
  release(lease: Lease): Promise<void>
}

/** How long a read that is under way may still take when the stream is closed; then it is cancelled. */
const LAST_READ_MILLIS = 50

/** Reads on one connection from the first batch to the last, with no other statement on it. */
export function dedicatedSource(pool: Lender, limits: Limits): StreamSource {
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

/** Waits for a turn before each batch, so that other statements run in between. */
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
