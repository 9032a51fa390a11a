/** Lends a Database's connections to its Knex instance: for statements, for transactions, and to callers of Knex. */
import type { CurrentTransaction } from './transaction/current'
import type { KnexLender } from './create-backend'
import type { TransactionLease } from './knex/host'
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

/** `statements` follow the scope that they are called in. `getSource` throws while the Database is not connected. */
export function knexLender(
  database: Acquirable,
  current: CurrentTransaction,
  getSource: () => ConnectionSource,
  statements: StatementRunner,
): KnexLender {
  /** Lent connections by the driver's object. In a forced rollback all of them share one object. */
  const lentByRaw = new WeakMap<object, Connection[]>()

  /** Returns what runs statements and begins transactions in `node`. */
  function transactionParentOf(node: TransactionParent): TransactionParent {
    if (!(node instanceof TransactionNode)) return node
    const statements = current.statementsOf(node)
    return {
      use: (limits, access, work) => statements.use(limits, access, work),
      streamSource: (limits) => statements.streamSource(limits),
      begin: (modes) => current.beginIn(node, modes),
    }
  }

  return {
    ...statements,
    transactionParentOf,
    rows: (...args) => new RowStream(...args),

    async acquire() {
      const connection = await database.acquire()
      const raw = connection.raw as object
      lentByRaw.set(raw, [...(lentByRaw.get(raw) ?? []), connection])
      return raw
    },

    async release(raw) {
      await lentByRaw.get(raw)?.pop()?.release()
    },

    async leaseForTransaction(): Promise<TransactionLease> {
      const node = await current.get()
      if (node !== null) {
        return {
          raw: node.lease.session.raw,
          transactionParent: transactionParentOf(node),
          expose: () => node.lease.expose(),
          runInside: (begun, work) => runBound(database, begun, work),
          release: () => Promise.resolve(),
        }
      }
      const { backend, key, pool } = getSource()
      const lease = await pool.lend(Limits.of(undefined, 'BEGIN'), { writes: true, isHeld: true })
      const connection = new HeldConnection(backend, key, pool, lease)
      return {
        raw: lease.session.raw,
        transactionParent: connection,
        expose: () => lease.expose(),
        async release() {
          if (!connection.tryFinish()) await connection.release()
        },
      }
    },
  }
}
