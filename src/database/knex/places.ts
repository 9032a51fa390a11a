/** Where the statements of a client of Knex run: in a turn that was taken for a builder, or in a transaction of Knex's. */
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

/** A turn on a connection, taken for a builder: what the builder sends waits for nobody. */
export class Section implements TransactionParent {
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

  /** Some schema changes on SQLite are a transaction of their own, and a savepoint inside of one of ours. */
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

/** One of ours, which begins and ends when a transaction of Knex's does. Savepoints of Knex's are statements in it. */
export class TransactionPlace implements StatementRunner {
  /** How it is to be begun. */
  modes: Modes = {}
  /** Why it was not committed, though it should have been. */
  commitFailure: Error | null = null
  readonly #ground: () => TransactionParent
  #begun: BegunTransaction | null = null

  constructor(ground: () => TransactionParent) {
    this.#ground = ground
  }

  get begun(): BegunTransaction | null {
    return this.#begun
  }

  use<T>(limits: Limits, access: Access, work: Work<T>): Promise<T> {
    return (this.#begun ?? this.#ground()).use(limits, access, work)
  }

  streamSource(limits: Limits): StreamSource {
    return (this.#begun ?? this.#ground()).streamSource(limits)
  }

  /** Does what a text of Knex's own asks for, if that is to begin or to end the transaction; else returns undefined. */
  control(sql: string): Promise<void> | undefined {
    if (/^BEGIN\b/.test(sql)) return this.#begin()
    if (/^COMMIT;?$/.test(sql)) return this.#commit()
    if (/^ROLLBACK;?$/.test(sql)) return this.#begun?.rollback()
    return undefined
  }

  async #begin(): Promise<void> {
    this.#begun = await this.#ground().begin(this.modes)
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
