/** Where a stream is read: on a connection of its own, or piece by piece on one that others use as well. */
import type { Lease } from './backend/lease'
import type { Pool } from './backend/pool'
import { Limits } from './limits'

/** What is to be done with a connection, within limits that may be narrower than those of the call. */
export type Work<T> = (lease: Lease, limits: Limits) => Promise<T>

/** Where a streamed result is read: `use` for each piece, `release` at the end. */
export interface Reading {
  /** True when nobody else uses the connection until the end. */
  readonly alone: boolean
  use<T>(work: Work<T>): Promise<T>
  /** The same for the end of it, which nobody calls off. */
  close(work: Work<void>): Promise<void>
  release(): Promise<void>
}

/** One connection from the first piece to the last, with nobody else on it. */
export function onItsOwn(pool: Pool, limits: Limits): Reading {
  let lease: Lease | undefined
  return {
    alone: true,
    use: async (work) => work((lease ??= await pool.lend(limits, { writes: false })), limits),
    close: async (work) => {
      if (lease !== undefined) await work(lease, limits)
    },
    release: async () => {
      if (lease !== undefined) await pool.release(lease)
    },
  }
}

/** Each piece takes its turn anew, so that others have theirs in between. */
export function pieceByPiece(limits: Limits, use: <T>(limits: Limits, work: Work<T>) => Promise<T>): Reading {
  return {
    alone: false,
    use: (work) => use(limits, work),
    close: (work) => use(Limits.none, work),
    release: () => Promise.resolve(),
  }
}
