/** A held connection: its caller's statements run on it, one after the other. */
import type { Backend } from '../query/backend'
import { cancelledBecause } from '../pool/transaction-control'
import type { Access } from '../driver/statement'
import type { Lease, StreamSource, StatementRunner, Work } from '../pool/lease'
import type { Pool } from '../pool/pool'
import { TransactionClosedError, TransactionError } from '../errors'
import { TransactionNode, type Opening } from './transaction-node'
import { Limits } from '../context/limits'
import type { Connection, Transaction, TransactionOptions } from '../query/queryable'
import { OpenTransaction } from './transaction'
import { QueryMethods } from '../query/query-methods'

export class HeldConnection extends TransactionNode implements Connection {
  protected readonly title = 'connection'
  protected readonly limits = Limits.none
  /** Null for the connection that afterConnect gets, which was never lent. */
  readonly #pool: Pool | null
  #state: 'open' | 'ending' | 'released' = 'open'

  constructor(backend: Backend, key: object, pool: Pool | null, lease: Lease) {
    super({ backend, key, parent: null, lease }, false, null)
    lease.transactionParent = this
    this.#pool = pool
  }

  get raw(): unknown {
    return this.lease.expose()
  }

  protected get isAccepting(): boolean {
    return this.#state === 'open'
  }

  protected get hasEnded(): boolean {
    return this.#state === 'released'
  }

  protected override readonly mayRetry = true

  protected override open(opening: Opening): Promise<OpenTransaction> {
    return OpenTransaction.open(this, opening)
  }

  async release(): Promise<void> {
    if (this.#state === 'released') return
    this.#state = 'released'
    if (this.lease.isBusy) await this.lease.interrupt(cancelledBecause('its connection was given back'))
    await this.#pool?.release(this.lease)
  }

  /**
   * Waits for the statements that were started on the connection, then gives it back.
   *
   * @throws TransactionError when a transaction that the caller began on it is still open; it is rolled back
   */
  async finish(): Promise<void> {
    this.#state = 'ending'
    if (this.child?.isHandle === true) {
      const { isEnded } = this.lease
      await this.release()
      // The pool took the lease back at its limits: that is the reason to report.
      if (isEnded) this.lease.refuseIfEnded()
      throw new TransactionError(
        'The work has ended, but a transaction that it began is still open, and was rolled back. ' +
          'End it with commit() or rollback(), or declare it with `await using`.',
      )
    }
    const unlock = await this.drain()
    unlock()
    await this.release()
  }

  /** Gives the connection back synchronously if nothing runs on it, the common case. Returns whether it did. */
  tryFinish(): boolean {
    if (this.child !== null || this.lease.isBusy) return false
    const unlock = this.turns.tryLock()
    if (unlock === null) return false
    const isDone = this.#pool?.tryRelease(this.lease) === true
    if (isDone) this.#state = 'released'
    else unlock()
    return isDone
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release()
  }
}

/** A handle on the connection of an open transaction: its statements run in that transaction. */
export class JoinedConnection extends QueryMethods implements Connection {
  protected readonly backend: Backend
  readonly #node: TransactionNode
  readonly #statements: StatementRunner
  #isReleased = false
  readonly #transactions: Transaction[] = []

  get isOpen(): boolean {
    return !this.#isReleased
  }

  /** `statements`, if given, runs the statements instead of `node`. */
  constructor(node: TransactionNode, statements: StatementRunner = node) {
    super()
    this.backend = node.backend
    this.#node = node
    this.#statements = statements
  }

  get raw(): unknown {
    this.#refuseIfReleased()
    return this.#node.lease.expose()
  }

  protected async use<T>(limits: Limits, access: Access, work: Work<T>): Promise<T> {
    this.#refuseIfReleased()
    return this.#statements.use(limits, access, work)
  }

  protected streamSource(limits: Limits): StreamSource {
    this.#refuseIfReleased()
    return this.#statements.streamSource(limits)
  }

  override async transaction<T>(
    work: (tx: Transaction) => Promise<T>,
    options?: TransactionOptions,
  ): Promise<T> {
    this.#refuseIfReleased()
    return this.#node.transaction(work, options)
  }

  override async begin(options?: TransactionOptions): Promise<Transaction> {
    this.#refuseIfReleased()
    const transaction = await this.#node.begin(options)
    this.#transactions.push(transaction)
    return transaction
  }

  /** Refuses further statements and rolls back what was begun on this handle. The connection itself stays lent. */
  async release(): Promise<void> {
    this.#isReleased = true
    // From the innermost outwards.
    for (const transaction of this.#transactions.splice(0).toReversed())
      if (transaction.state === 'open') await transaction.rollback()
  }

  #refuseIfReleased(): void {
    if (!this.#isReleased) return
    throw new TransactionClosedError(
      'The statement did not run: its connection has been given back. Await it before, or take a connection for it.',
    )
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.release()
  }
}
