/** Transactions of Knex: each runs in a transaction of this library. Tried with Knex 3.3.0. */
import type { Knex } from 'knex'
import { TransactionError } from '../errors'
import { type TransactionLease, hostOf, type LeasedClient } from './host'
import type { Limits } from '../context/limits'
import type { Access } from '../driver/statement'
import type { BegunTransaction, StatementRunner, StreamSource, TransactionParent, Work } from '../pool/lease'

export interface TransactionConfig {
  readonly connection?: object
  /** SQLite only: whether foreign keys are checked during the transaction. */
  readonly enforceForeignCheck?: boolean | null
}

export type Container = (transactor: unknown) => unknown

/** Knex's Transaction. It sends its statements through a client of its own. */
interface KnexTransaction {
  readonly trxClient: object
  readonly isolationLevel?: NonNullable<KnexTransactionExecutor['modes']['isolation']>
  readonly readOnly?: boolean
  isCompleted(): boolean
  begin(raw: object): Promise<unknown>
  savepoint(raw: object): Promise<unknown>
  commit(raw: object, value: unknown): Promise<unknown>
  acquireConnection<T>(config: object, work: (raw: object) => Promise<T>): Promise<T>
  /** SQLite only. Knex does not await it. */
  _restoreForeignCheck?(raw: object, isOn: boolean | null | undefined): Promise<unknown>
}

/** A client that lends a connection to one transaction, and takes it back. */
interface TransactionClient extends LeasedClient {
  acquireConnection(): Promise<object>
  releaseConnection(): Promise<void>
}

/** Has Knex create a transaction with this client and this work. */
type CreateTransaction = (client: TransactionClient, work: Container) => unknown

type Modes = Parameters<TransactionParent['begin']>[0]

/** Runs a transaction of Knex as one of this library. Knex's savepoints are ordinary statements in it. */
export class KnexTransactionExecutor implements StatementRunner {
  /** The modes to begin with. */
  modes: Modes = {}
  /** The error of a COMMIT that failed. */
  commitFailure: Error | null = null
  readonly #parent: () => TransactionParent
  #begun: BegunTransaction | null = null

  constructor(transactionParent: () => TransactionParent) {
    this.#parent = transactionParent
  }

  get begun(): BegunTransaction | null {
    return this.#begun
  }

  use<T>(limits: Limits, access: Access, work: Work<T>): Promise<T> {
    return (this.#begun ?? this.#parent()).use(limits, access, work)
  }

  streamSource(limits: Limits): StreamSource {
    return (this.#begun ?? this.#parent()).streamSource(limits)
  }

  /** Begins or ends the transaction if Knex's statement says so; else returns undefined. */
  control(sql: string): Promise<void> | undefined {
    if (/^BEGIN\b/.test(sql)) return this.#begin()
    if (/^COMMIT;?$/.test(sql)) return this.#commit()
    if (/^ROLLBACK;?$/.test(sql)) return this.#begun?.rollback()
    return undefined
  }

  async #begin(): Promise<void> {
    this.#begun = await this.#parent().begin(this.modes)
  }
  async #commit(): Promise<void> {
    try {
      await this.#begun?.commit()
    } catch (error) {
      this.commitFailure = error as Error
      throw error
    }
  }
}

/** Creates a transaction of Knex on a connection lent for it, or on `config.connection`. */
export function transactionOn(
  client: LeasedClient,
  work: Container,
  config: TransactionConfig | undefined,
  create: CreateTransaction,
): Knex.Transaction {
  const host = hostOf(client)
  const chosenConnection = config?.connection
  let lease: TransactionLease | undefined
  const executor = new KnexTransactionExecutor(
    () => lease?.transactionParent ?? host.transactionParentOf(chosenConnection as object),
  )
  const transactionClient: TransactionClient = Object.assign(Object.create(client) as LeasedClient, {
    async acquireConnection() {
      lease = await host.leaseForTransaction()
      return lease.raw
    },
    releaseConnection: async () => lease?.release(),
  })
  const workInside: Container = (transactor) => {
    const run = (): unknown => work(transactor)
    return lease?.runInside === undefined || executor.begun === null
      ? run()
      : lease.runInside(executor.begun, run)
  }
  return bindTransaction(executor, create(transactionClient, workInside), () =>
    Promise.resolve(lease?.expose() ?? (chosenConnection as object)),
  )
}

/** Creates a transaction of Knex inside another one. Its savepoint is sent as an ordinary statement. */
export function savepointIn(
  client: LeasedClient & Pick<TransactionClient, 'acquireConnection'>,
  work: Container,
  create: CreateTransaction,
): Knex.Transaction {
  const transactionClient: TransactionClient = Object.assign(Object.create(client) as LeasedClient, {
    acquireConnection: () => Promise.resolve(client.driverConnection as object),
    releaseConnection: () => Promise.resolve(),
  })
  return bindTransaction(
    client.executor as StatementRunner,
    create(transactionClient, work),
    client.acquireConnection,
  )
}

/** Gives the transaction's client its executor. `acquireConnection` serves callers that use the connection directly. */
function bindTransaction(
  executor: StatementRunner,
  created: unknown,
  acquireConnection: () => Promise<object>,
): Knex.Transaction {
  const transaction = created as KnexTransaction
  restoreBeforeRelease(transaction)
  for (const method of ['begin', 'savepoint'] as const) {
    const begin = transaction[method].bind(transaction)
    transaction[method] = async (raw) => {
      const { isolationLevel: isolation, readOnly } = transaction
      if (executor instanceof KnexTransactionExecutor && method === 'begin')
        executor.modes = { ...(isolation && { isolation }), ...(readOnly !== undefined && { readOnly }) }
      Object.assign(transaction.trxClient, { executor, driverConnection: raw, acquireConnection })
      await begin(raw)
      // Knex would still run the work.
      if (transaction.isCompleted()) throw new TransactionError('The transaction was not begun.')
    }
  }
  if (executor instanceof KnexTransactionExecutor) {
    const commit = transaction.commit.bind(transaction)
    transaction.commit = async (raw, value) => {
      await commit(raw, value)
      // Knex's own commit() resolves in spite of the failure when the caller commits by hand.
      if (executor.commitFailure !== null) throw executor.commitFailure
    }
  }
  return created as Knex.Transaction
}

/** On SQLite, restores the foreign key checks before the connection is released and the caller goes on. */
function restoreBeforeRelease(transaction: KnexTransaction): void {
  const restore = transaction._restoreForeignCheck?.bind(transaction)
  if (restore === undefined) return
  let restored: Promise<unknown> | undefined
  transaction._restoreForeignCheck = (...args) => (restored = restore(...args))
  const acquire = transaction.acquireConnection.bind(transaction)
  transaction.acquireConnection = (config, work) =>
    acquire(config, async (raw) => {
      try {
        return await work(raw)
      } finally {
        // Knex reports an error of it by itself.
        await restored?.catch(() => undefined)
      }
    })
}
