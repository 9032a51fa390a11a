/** Where a stream is read that belongs to no transaction and no held connection: on one lent by the pool. */
import type { Lease } from './backend/lease'
import type { Pool } from './backend/pool'
import type { Limits } from './limits'
import type { Reading } from './verbs'

export function readingFrom(pool: Pool, isSingle: boolean, limits: Limits): Reading {
  return isSingle ? pieceByPiece(pool, limits) : onOne(pool, limits)
}

/** One connection from the first piece to the last, with nobody else on it. */
function onOne(pool: Pool, limits: Limits): Reading {
  let lease: Lease | undefined
  return {
    alone: true,
    use: async (work) => work((lease ??= await pool.lend(limits, false)), limits),
    release: async () => {
      if (lease !== undefined) await pool.release(lease)
    },
  }
}

/** Where there is one connection for everybody, each piece takes it anew, so that others have their turn in between. */
function pieceByPiece(pool: Pool, limits: Limits): Reading {
  return {
    alone: false,
    async use(work) {
      const lease = await pool.lend(limits, false)
      try {
        return await work(lease, limits)
      } finally {
        await pool.release(lease)
      }
    },
    release: () => Promise.resolve(),
  }
}
