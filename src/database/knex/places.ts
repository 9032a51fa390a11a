/** Executors of Knex's statements: in the turn of one builder, or in a transaction of Knex. */
import type { Limits } from '../context/limits'
import { sharedSource } from '../pool/stream-source'
import { type Access, STREAM } from '../driver/statement'
import type { KnexHost } from './host'
import type {
  BegunTransaction,
  TransactionParent,
  Lease,
  StreamSource,
  StatementRunner,
  Work,
} from '../pool/lease'

/** Runs a builder's statements in a turn that the caller has taken, so that they need not wait for one. */
export class BuilderExecutor implements TransactionParent {
  readonly #lease: Lease
  readonly #host: KnexHost

  constructor(lease: Lease, host: KnexHost) {
    this.#lease = lease
    this.#host = host
  }

  use<T>(limits: Limits, _access: Access, work: Work<T>): Promise<T> {
    return work(this.#lease, limits.and(this.#lease.limits))
  }

  streamSource(limits: Limits): StreamSource {
    return sharedSource(limits, (bounded, work) => this.use(bounded, STREAM, work))
  }

  /** Begins the transaction that some schema changes on SQLite need; inside a transaction, a savepoint. */
  async begin(): Promise<BegunTransaction> {
    const [begin, commit, rollback] = this.#lease.transactions > 0 ? SAVEPOINT : TRANSACTION
    await this.#send(begin)
    return {
      use: (limits, access, work) => this.use(limits, access, work),
      streamSource: (limits) => this.streamSource(limits),
      commit: () => this.#send(commit),
      rollback: () => this.#send(rollback),
    }
  }

  async #send(texts: readonly string[]): Promise<void> {
    for (const sql of texts)
      await this.#lease.runUnchecked(this.#host.statementOf({ sql }), this.#lease.limits)
  }
}

const TRANSACTION = [['BEGIN'], ['COMMIT'], ['ROLLBACK']] as const
const SAVEPOINT = [
  ['SAVEPOINT millpond_knex'],
  ['RELEASE SAVEPOINT millpond_knex'],
  ['ROLLBACK TO SAVEPOINT millpond_knex', 'RELEASE SAVEPOINT millpond_knex'],
] as const

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
