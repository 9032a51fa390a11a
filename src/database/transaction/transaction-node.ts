/** What a held connection and a transaction on it have in common: statements take turns, and transactions open on it. */
import type { Backend } from '../query/backend'
import { type Access, STREAM } from '../driver/statement'
import type { TransactionParent, Lease, StreamSource, StatementRunner, Work } from '../pool/lease'
import { ConfigurationError, TransactionClosedError, TransactionError } from '../errors'
import { Limits } from '../context/limits'
import { Mutex, type Unlock } from '../context/mutex'
import { followedBy, type Hook, Hooks, runHooks } from './hooks'
import { LazyValue } from '../context/lazy-value'
import { Opening } from './opening'
import { checkedTransaction, limitsOf, type Transaction, type TransactionOptions } from '../query/queryable'
import { sharedSource } from '../pool/stream-source'
import { withRetries } from './retry'
import { boundTo, runBound } from '../context/scope'
import { captureCallSite, siteOf } from '../context/call-site'
import { QueryMethods } from '../query/query-methods'

/** Where in the tree a level grows. */
export interface Place {
  readonly backend: Backend
  readonly key: object
  readonly parent: TransactionNode | null
  readonly lease: Lease
}

/** A transaction as the block sees it that it was opened for. */
export interface Endable {
  /** The end of a block that succeeded. */
  finish(forceRollback: boolean): Promise<void>
  /** The end of a block that failed. */
  fail(reason: unknown): Promise<void>
}

/** A transaction that has begun. */
export type OpenLevel = TransactionNode & Transaction & Endable

/**
 * One level of the tree that grows on a connection: the connection, its transaction, the savepoints in it. Each
 * level runs one thing at a time, and a child that is open is such a thing: while it lasts, its parent waits.
 */
export abstract class TransactionNode extends QueryMethods implements TransactionParent {
  readonly backend: Backend
  /** The Database, as the key under which scopes know it. */
  readonly key: object
  readonly parent: TransactionNode | null
  readonly lease: Lease
  protected readonly turns = new Mutex()
  /** The transaction that has this level's turn now. */
  protected child: TransactionNode | null = null
  readonly isHandle: boolean
  readonly #site: Error | null
  readonly #isOverNow = (): boolean => this.isOver
  /** Transactions on it that are ended by hand, or will be. */
  #handles = 0

  protected constructor(place: Place, isHandle: boolean, site: Error | null) {
    super()
    this.backend = place.backend
    this.key = place.key
    this.parent = place.parent
    this.lease = place.lease
    this.isHandle = isHandle
    this.#site = site
  }

  /** What the level is called in errors. */
  protected abstract readonly title: string
  /** False from the moment in which its end begins: what comes later is refused. */
  protected abstract readonly isAccepting: boolean
  /** True once it is certain that nothing of it will stay. What still waits for its turn is refused as well. */
  protected abstract readonly isGone: boolean
  /** The level's own limits, on top of those of each call. */
  protected abstract readonly limits: Limits

  /** Begins one level further in. */
  protected abstract open(opening: Opening): Promise<OpenLevel>
  /** Whether a failed transaction may be run again here: only the outermost one starts from a clean slate. */
  protected abstract readonly mayRetry: boolean

  override transaction<T>(
    work: (tx: Transaction) => Promise<T>,
    options: TransactionOptions = {},
  ): Promise<T> {
    const hooks = new Hooks()
    const around = (): TransactionNode | null => this.nearestOpen()
    return followedBy(this.key, around, hooks, () => this.transactionBefore(hooks, work, options))
  }

  /** The same, but what is to follow is left in `hooks`: for one who has a connection to give back first. */
  async transactionBefore<T>(
    hooks: Hooks,
    work: (tx: Transaction) => Promise<T>,
    options: TransactionOptions,
    limits = limitsOf(options),
  ): Promise<T> {
    const { retries = 0, forceRollback = false } = checkedTransaction(options, work)
    const afterEnd = (due: readonly Hook[]): undefined => {
      hooks.add(due)
    }
    const opening = new Opening(options, limits, false, this.siteOfChild(), afterEnd)
    const attempt = async (): Promise<T> => {
      // Those of a try that is made again never happened.
      hooks.clear()
      const tx = await this.open(opening)
      let result: T
      try {
        result = await runBound(this.key, tx, () => work(tx))
      } catch (error) {
        await tx.fail(error)
        throw error
      }
      await tx.finish(forceRollback)
      return result
    }
    return retries > 0 && this.mayRetry ? withRetries(retries, attempt) : attempt()
  }

  override async begin(options: TransactionOptions = {}): Promise<OpenLevel> {
    const afterEnd = (hooks: readonly Hook[]): Promise<void> => runHooks(this.key, this.nearestOpen(), hooks)
    return this.beginThen(options, limitsOf(options), afterEnd)
  }

  /** Begins a transaction that is ended by hand, and says what comes after its end. */
  async beginThen(
    options: TransactionOptions,
    limits: Limits,
    afterEnd: (hooks: readonly Hook[]) => Promise<void>,
  ): Promise<OpenLevel> {
    checkedTransaction(options)
    if (options.retries !== undefined || options.forceRollback !== undefined) {
      throw new ConfigurationError(
        'begin() takes neither retries nor forceRollback: what is ended by hand cannot be run again, and ends as it is told.',
      )
    }
    return this.open(new Opening(options, limits, true, this.siteOfChild(), afterEnd))
  }

  /** The caller's place in the program. Only a savepoint can be in somebody's way, so only its place is worth the time. */
  protected siteOfChild(): Error | null {
    return this.parent === null ? null : captureCallSite()
  }

  /** The innermost level around here that has not ended, for what follows the end of one. */
  protected nearestOpen(): TransactionNode | null {
    return this.isOver ? (this.parent?.nearestOpen() ?? null) : this
  }

  /** A transaction is asked for that is ended by hand, so that waiting for it may be waiting for oneself. */
  expectHandle(): () => void {
    this.#handles += 1
    return () => {
      this.#handles -= 1
    }
  }

  /** Takes this level's turn, if it is free; else null. For statements, and for children that keep it as long as they last. */
  tryTakeTurn(): Unlock | null {
    this.#refuseIfEnded(!this.isAccepting)
    this.refuseToWaitForSelf()
    return this.turns.tryLock()
  }

  /** Waits for the turn that was not free. */
  async waitForTurn(limits: Limits): Promise<Unlock> {
    const patience = this.backend.settings.pool.acquireTimeoutMillis
    const bounded = this.#handles > 0 ? limits.within(patience, () => this.#tooLong(patience)) : limits
    const unlock = await this.turns.lock(bounded)
    if (this.isOver) {
      unlock()
      this.#refuseIfEnded(true)
    }
    return unlock
  }

  async use<T>(limits: Limits, _access: Access, work: Work<T>): Promise<T> {
    const bounded = this.bounded(limits)
    bounded.check()
    const unlock = this.tryTakeTurn() ?? (await this.waitForTurn(bounded))
    const { lease } = this
    lease.beginSection(this.#isOverNow, bounded)
    try {
      return await work(lease, bounded)
    } finally {
      lease.endSection()
      unlock()
    }
  }

  /** A call's limits together with those of this level and of all around it. */
  bounded(limits: Limits): Limits {
    const own = limits.and(this.limits)
    return this.parent === null ? own : this.parent.bounded(own)
  }

  /** Runs statements in a turn that was taken; they are refused from the moment in which this level is gone. */
  section<T>(limits: Limits, work: (lease: Lease) => Promise<T>): Promise<T> {
    return this.lease.section(this.#isOverNow, limits, work)
  }

  /** `statements` says how they run here, where that is not just in this level. */
  streamSource(limits: Limits, statements: Pick<StatementRunner, 'use'> = this): StreamSource {
    if (this.#innermost() === this) return this.readingInside(limits, statements)
    // Asked of the outer handle inside of the inner one: refused when it begins, as every statement is.
    return sharedSource(limits, (bounded, work) => this.use(bounded, STREAM, work))
  }

  /** The same, but whoever reads it inside of a transaction that was opened in this one since, reads it there. */
  readingInside(limits: Limits, statements: Pick<StatementRunner, 'use'> = this): StreamSource {
    let opened: TransactionNode | undefined
    return sharedSource(limits, (bounded, work) => {
      opened ??= this.#innermost()
      const level = opened.#innermost()
      return (level === this ? statements : level).use(bounded, STREAM, work)
    })
  }

  /** Makes `child` the one that this level waits for. Returns how to let go of it. */
  adopt(child: TransactionNode): () => void {
    this.child = child
    this.lease.transactionParent = child
    return () => {
      if (this.child !== child) return
      this.child = null
      this.lease.transactionParent = this
    }
  }

  /** Resolves when all statements that were accepted so far have ended, and no other can come in between. */
  drain(): Promise<Unlock> {
    return this.turns.lock(Limits.none)
  }

  isInside(other: TransactionNode): boolean {
    for (let level = this.parent; level !== null; level = level.parent) {
      if (level === other) return true
    }
    return false
  }

  /** @throws TransactionClosedError when this level, or one around it, has ended */
  refuseIfGone(): void {
    this.#refuseIfEnded(this.isOver)
  }

  /** @throws TransactionClosedError when its end has begun, which would wait for ever for a handle opened now */
  refuseIfEnding(): void {
    this.#refuseIfEnded(!this.isAccepting)
  }

  get isOpen(): boolean {
    return !this.isOver
  }

  /** True when this level has ended, or one around it has. */
  get isOver(): boolean {
    return this.isGone || this.lease.isEnded || this.parent?.isOver === true
  }

  #refuseIfEnded(isEnded: boolean): void {
    if (!isEnded && !this.isOver) return
    this.lease.refuseIfEnded()
    throw new TransactionClosedError(
      `The statement did not run: its ${this.title} has ended. Something still runs after the work that it belongs to ` +
        'has settled; await it there, or wrap it in database.detached() to let it run on its own.',
    )
  }

  /** The ambient transaction is inside this one, so this one's turn comes when the ambient one has ended: never. */
  protected refuseToWaitForSelf(): void {
    const inner = this.#innermost()
    if (inner === this) return
    throw new TransactionError(
      `The outer ${this.title} is used inside the ${inner.title} that is open in it, and would wait for it for ever. ` +
        `Use the inner one, or the database itself.\nThe inner one was ${inner.#place()}`,
    )
  }

  /** The ambient level, if it is open inside of this one, which waits for it. */
  #innermost(): TransactionNode {
    const bound = boundTo(this.key)
    const inner = bound instanceof LazyValue ? bound.opened : bound
    return inner instanceof TransactionNode && inner.isOpen && inner.isAccepting && inner.isInside(this)
      ? inner
      : this
  }

  #tooLong(millis: number): TransactionError {
    const { child } = this
    return new TransactionError(
      `The ${this.title} waited ${millis} ms for the ${child?.title ?? 'transaction'} in it to end. ` +
        `Commit it or roll it back first.${child === null ? '' : `\nIt was ${child.#place()}`}`,
    )
  }

  #place(): string {
    return `opened ${siteOf(this.#site) ?? 'at a place that was not recorded'}`
  }
}
