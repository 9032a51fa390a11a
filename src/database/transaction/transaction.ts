/** A transaction: BEGIN … COMMIT on a held connection; inside another one, a savepoint. */
import type { TransactionStatements } from '../driver/dialect'
import { type TransactionBlock, TransactionNode, type Opening, plainOpening } from './transaction-node'
import { attachCleanup, TransactionClosedError, TransactionError } from '../errors'
import { Limits } from '../context/limits'
import { cancelledBecause } from '../pool/transaction-control'
import type { Result } from '../driver/statement'
import { sendCommit } from './commit'
import { hooksForParent, Hooks } from './hooks'
import type { Unlock } from '../context/mutex'
import type { Transaction } from '../query/queryable'
import { refuseOtherModes, type TransactionSql, transactionSql } from './transaction-sql'

export class OpenTransaction extends TransactionNode implements Transaction, TransactionBlock {
  readonly depth: number
  protected override readonly mayRetry = false
  protected readonly limits: Limits
  readonly #opening: Opening
  readonly #sql: TransactionSql
  readonly #unlockParent: Unlock
  readonly #hooks = new Hooks()
  /** `ending`: a commit is under way, and no further statement is accepted. */
  #state: 'open' | 'ending' | 'committed' | 'rolled back' = 'open'
  #ending: Promise<void> | null = null
  #isForcedRollback = false
  /** The error of the limits that ran out and so rolled the transaction back; else null. */
  #expired: Error | null = null
  readonly #stopWatching: () => void

  private constructor(parent: TransactionNode, opening: Opening, sql: TransactionSql, unlockParent: Unlock) {
    super(
      { backend: parent.backend, key: parent.key, parent, lease: parent.lease },
      opening.isHandle,
      opening.site,
    )
    this.depth = depthIn(parent)
    this.limits = opening.limits
    this.#opening = opening
    this.#sql = sql
    this.#unlockParent = unlockParent
    parent.adopt(this)
    this.lease.transactions += 1
    this.#stopWatching = this.lease.until.covers(this.limits) ? noop : this.#rollBackWhenExpired()
  }

  /** Rolls the transaction back when its limits run out, even while its work waits for something else. */
  #rollBackWhenExpired(): () => void {
    return this.limits.watch((expiry) => {
      const expired = this.limits.error(expiry)
      // A running statement is cancelled by its own limits first: their error is more precise.
      queueMicrotask(() => {
        if (this.#state !== 'open') return
        this.#expired = expired
        this.fail(expired).catch(noop)
      })
    })
  }

  /**
   * Opens a transaction on a connection, or a savepoint in a transaction.
   *
   * @throws the error of BEGIN or SAVEPOINT; then nothing is open
   */
  static async open(parent: TransactionNode, opening: Opening): Promise<OpenTransaction> {
    const { options, limits, isHandle } = opening
    if (parent instanceof OpenTransaction && !parent.#outermost().#isForcedRollback) {
      refuseOtherModes(options, parent.#outermost().#opening.options)
    }
    const bounded = parent.bounded(limits)
    let unlock: Unlock | null = null
    if (isHandle) parent.handleCount += 1
    try {
      unlock = parent.tryTakeTurn() ?? (await parent.waitForTurn(bounded))
      const sql = transactionSql(parent.backend.dialect, parent.lease.session, depthIn(parent), options)
      if (sql.begin.canBeDeferred === true) {
        parent.refuseChildIfEnded(isHandle)
        for (const text of sql.begin.open) parent.lease.begin(text, bounded)
      } else {
        await sendBegin(parent, sql.begin, bounded, isHandle)
      }
      return new OpenTransaction(parent, opening, sql, unlock)
    } catch (error) {
      if (isHandle) parent.handleCount -= 1
      unlock?.()
      throw error
    }
  }

  /** Opens the transaction of a forced rollback: transactions inside it behave as if they were outermost. */
  static async openForced(parent: TransactionNode): Promise<OpenTransaction> {
    const transaction = await OpenTransaction.open(parent, plainOpening(Limits.none))
    transaction.#isForcedRollback = true
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

  protected get hasEnded(): boolean {
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
   * Commits after all statements that were sent through it have ended. A savepoint becomes part of its parent.
   *
   * @throws TransactionClosedError when the transaction has ended already
   * @throws TransactionError when a transaction inside it is still open, or the server rolled back instead
   * @throws CommitUnknownError when the connection was lost before the server's answer
   */
  async commit(): Promise<void> {
    this.#refuseIfEnded('commit()')
    this.refuseSelfDeadlock()
    if (this.child?.isHandle === true) {
      throw new TransactionError(
        'A transaction inside this one is still open. Commit it or roll it back first.',
      )
    }
    this.#state = 'ending'
    this.#ending = this.#commit()
    await this.#ending
  }

  /**
   * Cancels the statements that still run, and rolls back. Does nothing when the transaction is rolled back already.
   *
   * @throws TransactionClosedError when the transaction is committed
   */
  async rollback(): Promise<void> {
    if (this.#state !== 'rolled back') this.#refuseIfEnded('rollback()')
    await this.fail(null)
  }

  /** Ends the transaction block after its work succeeded: commits, unless the work has ended the transaction. */
  async finish(forceRollback: boolean): Promise<void> {
    if (this.#state !== 'open') {
      await this.#ending
      if (this.#expired !== null) throw this.#expired
      if (this.#state === 'committed' && this.#isRolledBackByAncestor()) throw rolledBackWithParent()
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
      this.#ending = this.#commit()
      await this.#ending
      return
    }
    const unlock = await this.drain()
    unlock()
    await this.fail(null)
  }

  /** Ends the transaction block after its work failed: cancels running statements, refuses waiting ones, rolls back. */
  async fail(reason: unknown): Promise<void> {
    // A commit that is under way cannot be cancelled, and a rollback is done once.
    if (this.#ending !== null) await Promise.allSettled([this.#ending])
    if (this.hasEnded) return
    this.#state = 'rolled back'
    this.#ending = this.#interruptAndRollBack(reason)
    await this.#ending
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#state === 'open') await this.rollback()
  }

  async #commit(): Promise<void> {
    const unlock = this.turns.tryLock() ?? (await this.drain())
    try {
      this.lease.refuseIfEnded()
      if (this.#parentIsGone()) throw rolledBackWithParent()
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
    const settled = this.#sql.begin.close.length > 0 ? this.#cleanUp('committed') : this.#settle('committed')
    if (settled !== undefined) await settled
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
        // Nothing is left to roll back once the parent has ended or the connection is lost.
        if (lease.inTransaction && !this.#parentIsGone()) await this.#runThrough(text)
      }
    } catch (cleanup) {
      // The state of the connection is unknown: it must not be used again.
      lease.destroy()
      attachCleanup(error, cleanup)
    }
    try {
      await this.#cleanUp('rolled back')
    } catch (cleanup) {
      // A hook failed. Its error is thrown only when there is no earlier one.
      if (error === null) throw cleanup
      attachCleanup(error, cleanup)
    }
  }

  /** Runs the statements that restore the connection after a transaction, then settles it. */
  async #cleanUp(state: 'committed' | 'rolled back'): Promise<void> {
    this.#state = state
    try {
      if (this.lease.isUsable) for (const text of this.#sql.begin.close) await this.#runThrough(text)
    } catch {
      this.lease.destroy()
    }
    await this.#settle(state)
  }

  /** Gives the parent its turn back, and passes the hooks on. Returns undefined if there is nothing to await. */
  #settle(state: 'committed' | 'rolled back'): Promise<void> | undefined {
    this.#state = state
    this.#stopWatching()
    this.lease.transactions -= 1
    this.parent?.disown(this)
    if (this.parent !== null && this.isHandle) this.parent.handleCount -= 1
    this.#unlockParent()
    const outcome = state === 'committed' ? 'commit' : 'rollback'
    if (this.parent instanceof OpenTransaction && !this.parent.#isForcedRollback && !this.#parentIsGone()) {
      this.parent.#hooks.add(hooksForParent(this.#hooks.all, outcome))
      return this.#opening.afterEnd([])
    }
    return this.#opening.afterEnd(this.#hooks.all.filter((hook) => hook.on === outcome))
  }

  #runThrough(text: string): Promise<Result> {
    return this.lease.runUninterrupted(this.backend.compiler.plain(text), this.bounded(Limits.none))
  }

  #parentIsGone(): boolean {
    return this.parent?.isOver === true
  }

  /** Returns whether a transaction around this one has ended without a COMMIT. */
  #isRolledBackByAncestor(): boolean {
    for (let node = this.parent; node instanceof OpenTransaction; node = node.parent) {
      if (node.#state !== 'committed' && node.isOver) return true
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

const noop = (): void => undefined

function rolledBackWithParent(): TransactionClosedError {
  return new TransactionClosedError(
    'What is around this transaction has ended, and it was rolled back with it.',
  )
}

function depthIn(parent: TransactionNode): number {
  return parent instanceof OpenTransaction ? parent.depth + 1 : 1
}

/**
 * Sends the statements that open a transaction or a savepoint.
 *
 * @throws the error of a statement, or that of a parent that has ended meanwhile; then nothing is open
 */
async function sendBegin(
  parent: TransactionNode,
  { open, close }: TransactionStatements,
  limits: Limits,
  isHandle: boolean,
): Promise<void> {
  const { lease, backend } = parent
  parent.beginSection(limits)
  try {
    for (const text of open) await lease.runUnchecked(backend.compiler.plain(text), limits)
    parent.refuseChildIfEnded(isHandle)
  } catch (error) {
    // Some statements may have run. BEGIN is undone here; a SAVEPOINT is undone when its transaction ends.
    if (depthIn(parent) === 1) await undo(parent, close, error)
    throw error
  } finally {
    lease.endSection()
  }
}

async function undo(parent: TransactionNode, close: readonly string[], error: unknown): Promise<void> {
  const { lease } = parent
  try {
    // A lease that has ended may have given its session to another one.
    if (lease.isUsable) await lease.session.reset()
    if (lease.isUsable)
      for (const text of close) await lease.runUninterrupted(parent.backend.compiler.plain(text))
  } catch (cleanup) {
    lease.destroy()
    attachCleanup(error, cleanup)
  }
}
