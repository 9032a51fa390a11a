/** A transaction: BEGIN … COMMIT on a held connection; inside another one, a savepoint. */
import { cancelledBecause } from '../pool/transaction-control'
import type { Result } from '../driver/statement'
import { attachCleanup, TransactionClosedError, TransactionError } from '../errors'
import { sendBegin } from './begin'
import { sendCommit } from './commit'
import { type Endable, TransactionNode } from './transaction-node'
import { handUp, Hooks } from './hooks'
import { Limits } from '../context/limits'
import type { Unlock } from '../context/mutex'
import { type Opening, unlimited } from './opening'
import type { Transaction } from '../query/queryable'
import { refuseOtherModes, type TransactionSql, transactionSql } from './transaction-sql'

export class OpenTransaction extends TransactionNode implements Transaction, Endable {
  readonly depth: number
  protected override readonly mayRetry = false
  protected readonly limits: Limits
  readonly #opening: Opening
  readonly #sql: TransactionSql
  readonly #leaveParent: Unlock
  readonly #hooks = new Hooks()
  /** `ending`: a commit is under way, and nothing more is accepted. */
  #state: 'open' | 'ending' | 'committed' | 'rolled back' = 'open'
  #end: Promise<void> | null = null
  #isForced = false
  /** Why it was rolled back before its end, if its limits have run out. */
  #expired: Error | null = null
  readonly #stopWatching: () => void

  private constructor(on: TransactionNode, opening: Opening, sql: TransactionSql, unlockParent: Unlock) {
    super({ backend: on.backend, key: on.key, parent: on, lease: on.lease }, opening.isHandle, opening.site)
    this.depth = depthOn(on)
    this.limits = opening.limits
    this.#opening = opening
    this.#sql = sql
    const abandon = on.adopt(this)
    this.lease.transactions += 1
    this.#stopWatching = this.lease.until.covers(this.limits) ? nothing : this.#watch()
    this.#leaveParent = () => {
      this.#stopWatching()
      this.lease.transactions -= 1
      abandon()
      unlockParent()
    }
  }

  /** Rolls it back when its limits run out before those of the connection, whatever its work waits for then. */
  #watch(): () => void {
    return this.limits.watch((expiry) => {
      const expired = this.limits.error(expiry)
      // A statement that runs is ended by its own limits, which know more about it.
      queueMicrotask(() => {
        if (this.#state !== 'open') return
        this.#expired = expired
        this.fail(expired).catch(nothing)
      })
    })
  }

  /** @throws the reason why BEGIN or SAVEPOINT failed; then nothing is open */
  static async open(on: TransactionNode, opening: Opening): Promise<OpenTransaction> {
    const { options, limits } = opening
    if (on instanceof OpenTransaction && !on.#outermost().#isForced) {
      refuseOtherModes(options, on.#outermost().#opening.options)
    }
    const bounded = on.bounded(limits)
    const free = on.tryTakeTurn()
    const forget = opening.isHandle ? on.expectHandle() : nothing
    const unlock =
      free ??
      (await on.waitForTurn(bounded).catch((error: unknown) => {
        forget()
        throw error
      }))
    const refuse = (): void => {
      on.refuseIfGone()
      if (opening.isHandle) on.refuseIfEnding()
    }
    let sql: TransactionSql
    try {
      sql = transactionSql(on.backend.dialect, on.lease.session, depthOn(on), options)
      if (sql.begin.canBeDeferred === true) {
        refuse()
        for (const text of sql.begin.open) on.lease.begin(text, bounded)
      } else await sendBegin(on, sql.begin, { isOutermost: depthOn(on) === 1, limits: bounded, refuse })
    } catch (error) {
      forget()
      unlock()
      throw error
    }
    return new OpenTransaction(on, opening, sql, () => {
      forget()
      unlock()
    })
  }

  /** The transaction of a test, in which others are to feel as if they were outermost. */
  static async openForced(on: TransactionNode): Promise<OpenTransaction> {
    const transaction = await OpenTransaction.open(on, unlimited(Limits.none))
    transaction.#isForced = true
    return transaction
  }

  protected override open(opening: Opening): Promise<OpenTransaction> {
    return OpenTransaction.open(this, opening)
  }

  protected get title(): string {
    return this.depth === 1 ? 'transaction' : `transaction (savepoint, depth ${this.depth})`
  }

  get state(): 'open' | 'committed' | 'rolled back' {
    if (this.#state === 'committed') return 'committed'
    return this.isOver ? 'rolled back' : 'open'
  }

  protected get isAccepting(): boolean {
    return this.#state === 'open'
  }

  protected get isGone(): boolean {
    return this.#state === 'rolled back' || this.#state === 'committed'
  }

  afterCommit(work: () => unknown): void {
    this.#refuseIfEnded('afterCommit()')
    this.#hooks.add([{ on: 'commit', work }])
  }

  afterRollback(work: () => unknown): void {
    this.#refuseIfEnded('afterRollback()')
    this.#hooks.add([{ on: 'rollback', work }])
  }

  /**
   * Commits, when all statements that were sent through it have ended; a savepoint becomes part of its parent.
   *
   * @throws TransactionClosedError when it has ended already
   * @throws TransactionError when one inside it is still open, or the server rolled back instead
   * @throws CommitUnknownError when the connection was lost before the server's answer
   */
  async commit(): Promise<void> {
    this.#refuseIfEnded('commit()')
    this.refuseToWaitForSelf()
    if (this.child?.isHandle === true) {
      throw new TransactionError(
        'A transaction inside this one is still open. Commit it or roll it back first.',
      )
    }
    this.#state = 'ending'
    this.#end = this.#commit()
    await this.#end
  }

  /**
   * Rolls back; what still runs in it is cancelled. Does nothing when that has happened already.
   *
   * @throws TransactionClosedError when it is committed
   */
  async rollback(): Promise<void> {
    if (this.#state !== 'rolled back') this.#refuseIfEnded('rollback()')
    await this.fail(null)
  }

  /** The end of a block that succeeded: commits, unless it was ended inside. */
  async finish(forceRollback: boolean): Promise<void> {
    if (this.#state !== 'open') {
      await this.#end
      if (this.#expired !== null) throw this.#expired
      if (this.#state === 'committed' && this.#isUndone()) throw undone()
      return
    }
    if (this.child?.isHandle === true) {
      const error = new TransactionError(
        'The work has ended, but a transaction that it began inside is still open, so nothing was committed. ' +
          'End it with commit() or rollback(), or declare it with `await using`.',
      )
      await this.fail(error)
      throw error
    }
    this.#state = 'ending'
    if (!forceRollback) {
      this.#end = this.#commit()
      await this.#end
      return
    }
    const unlock = await this.drain()
    unlock()
    await this.fail(null)
  }

  /** The end of a block that failed: cancels what runs, refuses what waits, rolls back. */
  async fail(reason: unknown): Promise<void> {
    // A commit that is under way cannot be called back; a rollback is done once.
    if (this.#end !== null) await Promise.allSettled([this.#end])
    if (this.isGone) return
    this.#state = 'rolled back'
    this.#end = this.#interruptAndRollBack(reason)
    await this.#end
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#state === 'open') await this.rollback()
  }

  async #commit(): Promise<void> {
    const unlock = this.turns.tryLock() ?? (await this.drain())
    try {
      this.lease.refuseIfEnded()
      if (this.#parentIsGone()) throw undone()
      const limits = this.bounded(Limits.of(undefined, 'COMMIT'))
      limits.check()
      const isReadOnly = this.#outermost().#opening.options.readOnly === true
      await sendCommit(this.backend, this.lease, this.#sql.commit, { depth: this.depth, isReadOnly, limits })
    } catch (error) {
      await this.#rollBack(error)
      throw error
    } finally {
      unlock()
    }
    const after = this.#sql.begin.close.length > 0 ? this.#leave('committed') : this.#left('committed')
    if (after !== undefined) await after
  }

  async #interruptAndRollBack(reason: unknown): Promise<void> {
    await this.lease.interrupt(cancelledBecause('its transaction was rolled back'))
    await this.#rollBack(reason)
  }

  async #rollBack(error: unknown): Promise<void> {
    this.#state = 'rolled back'
    const { lease } = this
    try {
      for (const text of this.#sql.rollback) {
        // With the parent gone, or the connection, there is nothing left to roll back to.
        if (lease.inTransaction && !this.#parentIsGone()) await this.#run(text)
      }
    } catch (cleanup) {
      // What state the connection is in nobody knows: it must not be used again.
      lease.destroy()
      attachCleanup(error, cleanup)
    }
    try {
      await this.#leave('rolled back')
    } catch (cleanup) {
      // A hook failed. That is news only when there is none worse.
      if (error === null) throw cleanup
      attachCleanup(error, cleanup)
    }
  }

  async #leave(state: 'committed' | 'rolled back'): Promise<void> {
    this.#state = state
    try {
      if (this.lease.isUsable) for (const text of this.#sql.begin.close) await this.#run(text)
    } catch {
      this.lease.destroy()
    }
    await this.#left(state)
  }

  #left(state: 'committed' | 'rolled back'): Promise<void> | undefined {
    this.#state = state
    this.#leaveParent()
    const outcome = state === 'committed' ? 'commit' : 'rollback'
    if (this.parent instanceof OpenTransaction && !this.parent.#isForced && !this.#parentIsGone()) {
      this.parent.#hooks.add(handUp(this.#hooks.all, outcome))
      return this.#opening.afterEnd([])
    }
    return this.#opening.afterEnd(this.#hooks.all.filter((hook) => hook.on === outcome))
  }

  #run(text: string): Promise<Result> {
    return this.lease.runUninterrupted(this.backend.compiler.plain(text), this.bounded(Limits.none))
  }

  #parentIsGone(): boolean {
    return this.parent?.isOver === true
  }

  /** Whether a transaction around this one has ended without a COMMIT. */
  #isUndone(): boolean {
    for (let level = this.parent; level instanceof OpenTransaction; level = level.parent) {
      if (level.#state !== 'committed' && level.isOver) return true
    }
    return false
  }

  #refuseIfEnded(what: string): void {
    if (this.#state === 'open') return
    if (this.#expired !== null) throw this.#expired
    throw new TransactionClosedError(`${what} came too late: the transaction is ${this.#state} already.`)
  }

  #outermost(): OpenTransaction {
    return this.parent instanceof OpenTransaction ? this.parent.#outermost() : this
  }
}

const nothing = (): void => undefined

function undone(): TransactionClosedError {
  return new TransactionClosedError(
    'What is around this transaction has ended, and it was rolled back with it.',
  )
}

function depthOn(on: TransactionNode): number {
  return on instanceof OpenTransaction ? on.depth + 1 : 1
}
