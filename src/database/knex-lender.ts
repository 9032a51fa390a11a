/** What a Database lends to its Knex instance: connections for its statements, its transactions, and its users. */
import type { CurrentTransaction } from './transaction/current'
import type { Lender } from './create-backend'
import type { Hold } from './knex/host'
import type { TransactionParent, StatementRunner } from './pool/lease'
import type { ConnectionSource } from './transaction/with-connection'
import { HeldConnection } from './transaction/connection'
import { TransactionNode } from './transaction/transaction-node'
import { Limits } from './context/limits'
import type { Connection } from './query/queryable'
import { RowStream } from './query/row-stream'
import { runBound } from './context/scope'

interface Acquirable {
  acquire(): Promise<Connection>
}

/** `statements` are those of the scope that they are called in; `lender` knows the pool while there is one. */
export function knexLender(
  database: Acquirable,
  ambient: CurrentTransaction,
  lender: () => ConnectionSource,
  statements: StatementRunner,
): Lender {
  /** Those that are out, by the driver's connection. In a forced rollback they are all the same one. */
  const acquired = new WeakMap<object, Connection[]>()

  /** Where statements run in `held`, and transactions begin. */
  function groundOf(held: TransactionParent): TransactionParent {
    if (!(held instanceof TransactionNode)) return held
    const found = ambient.statementsOf(held)
    return {
      use: (limits, access, work) => found.use(limits, access, work),
      streamSource: (limits) => found.streamSource(limits),
      begin: (modes) => ambient.beginIn(held, modes),
    }
  }

  return {
    ...statements,
    groundOf,
    rows: (...args) => new RowStream(...args),

    async acquire() {
      const connection = await database.acquire()
      const raw = connection.raw as object
      acquired.set(raw, [...(acquired.get(raw) ?? []), connection])
      return raw
    },

    async release(raw) {
      await acquired.get(raw)?.pop()?.release()
    },

    async hold(): Promise<Hold> {
      const bound = await ambient.get()
      if (bound !== null) {
        return {
          raw: bound.lease.session.raw,
          ground: groundOf(bound),
          expose: () => bound.lease.expose(),
          inside: (begun, work) => runBound(database, begun, work),
          release: () => Promise.resolve(),
        }
      }
      const { backend, key, pool } = lender()
      const lease = await pool.lend(Limits.of(undefined, 'BEGIN'), { writes: true, endsWithLimits: true })
      const held = new HeldConnection(backend, key, pool, lease)
      return {
        raw: lease.session.raw,
        ground: held,
        expose: () => lease.expose(),
        async release() {
          if (!held.tryFinish()) await held.release()
        },
      }
    },
  }
}
