/** One connection, held: whoever has it runs every statement on it, one after the other. */
import type { Backend } from '../query/backend'
import { cancelledBecause } from '../pool/transaction-control'
import type { Access } from '../driver/statement'
import type { Lease, StreamSource, StatementRunner, Work } from '../pool/lease'
import type { Pool } from '../pool/pool'
import { TransactionClosedError, TransactionError } from '../errors'
import { TransactionNode } from './transaction-node'
import type { Opening } from './opening'
import { Limits } from '../context/limits'
import type { Connection, Transaction, TransactionOptions } from '../query/queryable'
import { OpenTransaction } from './transaction'
import { QueryMethods } from '../query/query-methods'

export class HeldConnection extends TransactionNode implements Connection {
  protected readonly title = 'connection'
  protected readonly limits = Limits.none
  /** Null for a connection that was never lent: the one that afterConnect gets. */
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

  protected get isGone(): boolean {
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
   * Gives the connection back when all that was started on it has ended.
   *
   * @throws TransactionError when a transaction was begun on it and not ended
   */
  async finish(): Promise<void> {
    this.#state = 'ending'
    if (this.child?.isHandle === true) {
      const { isEnded } = this.lease
      await this.release()
      // Taken back by its limits, which are what it failed of.
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

  /** The same where nothing is left to be ended, which is the common case. Returns whether it is done. */
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

/** The connection of a transaction that is open already: what is run on it runs in that transaction. */
export class JoinedConnection extends QueryMethods implements Connection {
  protected readonly backend: Backend
  readonly #held: TransactionNode
  readonly #statements: StatementRunner
  #isReleased = false
  readonly #begun: Transaction[] = []

  get isOpen(): boolean {
    return !this.#isReleased
  }

  /** `statements` says how they run, where that is not just in `held`. */
  constructor(held: TransactionNode, statements: StatementRunner = held) {
    super()
    this.backend = held.backend
    this.#held = held
    this.#statements = statements
  }

  get raw(): unknown {
    this.#refuseIfReleased()
    return this.#held.lease.expose()
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
    return this.#held.transaction(work, options)
  }

  override async begin(options?: TransactionOptions): Promise<Transaction> {
    this.#refuseIfReleased()
    const begun = await this.#held.begin(options)
    this.#begun.push(begun)
    return begun
  }

  /** The connection itself is not ours to give back, but nothing runs by this handle any more, and nothing stays open. */
  async release(): Promise<void> {
    this.#isReleased = true
    // The innermost one first, as they end.
    for (const begun of this.#begun.splice(0).toReversed()) if (begun.state === 'open') await begun.rollback()
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
