/** A node of the tree of transactions: a held connection, or a transaction or savepoint on it. */
import {
  databaseErrorOf,
  SerializationError,
  ConfigurationError,
  TransactionClosedError,
  TransactionError,
} from '../errors'
import { type Hook, withHooks, Hooks, runHooks } from './hooks'
import { Limits } from '../context/limits'
import {
  type TransactionOptions,
  checkTransactionOptions,
  transactionLimits,
  type Transaction,
} from '../query/queryable'
import type { Backend } from '../query/backend'
import { type Access, STREAM } from '../driver/statement'
import type { TransactionParent, Lease, StreamSource, StatementRunner, Work } from '../pool/lease'
import { ObservedLease } from '../pool/observed-lease'
import { Mutex, type Unlock } from '../context/mutex'
import { LazyValue } from '../context/lazy-value'
import { sharedSource } from '../pool/stream-source'
import { boundTo, runBound } from '../context/scope'
import { captureCallSite, siteOf } from '../context/call-site'
import { QueryMethods } from '../query/query-methods'

/** The place of a new node in the tree. */
export interface NodeContext {
  readonly backend: Backend
  readonly key: object
  readonly parent: TransactionNode | null
  readonly lease: Lease
}

type AfterEnd = (hooks: readonly Hook[]) => Promise<void> | undefined

/** How to open a transaction, and what to do after its end. */
export class Opening {
  readonly options: TransactionOptions
  /** The limits of the whole transaction. */
  readonly limits: Limits
  /** True for a transaction that the caller ends: waiting for it may be a deadlock. */
  readonly isHandle: boolean
  /** The call site, or null where it is not recorded. */
  readonly site: Error | null
  /** Receives the due hooks after the end. Returns undefined if there is nothing to await. */
  readonly afterEnd: AfterEnd

  constructor(
    options: TransactionOptions,
    limits: Limits,
    isHandle: boolean,
    site: Error | null,
    afterEnd: AfterEnd,
  ) {
    this.options = options
    this.limits = limits
    this.isHandle = isHandle
    this.site = site
    this.afterEnd = afterEnd
  }
}

/** Opens a transaction without options, and drops its hooks. */
export function plainOpening(limits: Limits): Opening {
  return new Opening({}, limits, false, null, () => undefined)
}

/** Ends a transaction block: commits after success, rolls back after failure. */
export interface TransactionBlock {
  /** Commits, or rolls back if `forceRollback` is true. */
  finish(forceRollback: boolean): Promise<void>
  /** Rolls back because of `reason`. */
  fail(reason: unknown): Promise<void>
}

/** An open transaction, which is a child of the connection or transaction that opened it. */
export type ChildTransaction = TransactionNode & Transaction & TransactionBlock

/**
 * A node of the tree of one connection: the connection is the root, its transaction the child, savepoints lie below.
 * Each node runs one statement or one child transaction at a time: while a child is open, its parent waits.
 */
export abstract class TransactionNode extends QueryMethods implements TransactionParent {
  readonly backend: Backend
  /** The Database, as the key under which scopes know it. */
  readonly key: object
  readonly parent: TransactionNode | null
  readonly lease: Lease
  protected readonly turns = new Mutex()
  /** The open transaction that holds this node's turn now. */
  protected child: TransactionNode | null = null
  /** True for a transaction that the caller ends by commit() or rollback(). */
  readonly isHandle: boolean
  readonly #site: Error | null
  readonly #isOverGuard = (): boolean => this.isOver
  /** Children that the caller ends by commit() or rollback(): open ones, and those that wait for their turn. */
  handleCount = 0

  protected constructor(context: NodeContext, isHandle: boolean, site: Error | null) {
    super()
    this.backend = context.backend
    this.key = context.key
    this.parent = context.parent
    this.lease = context.lease
    this.isHandle = isHandle
    this.#site = site
  }

  /** The name of the node in errors. */
  protected abstract readonly title: string
  /** False once the end of the node has begun: later statements are refused. */
  protected abstract readonly isAccepting: boolean
  /** True once the node is released, committed or to be rolled back. Statements that wait for their turn are refused too. */
  protected abstract readonly hasEnded: boolean
  /** The node's own limits, which apply in addition to those of each call. */
  protected abstract readonly limits: Limits

  /** Opens a child: a transaction on a connection, a savepoint in a transaction. */
  protected abstract open(opening: Opening): Promise<ChildTransaction>
  /** True if a failed child may be run again: only the outermost transaction can be, since it undoes everything. */
  protected abstract readonly mayRetry: boolean

  override transaction<T>(
    work: (tx: Transaction) => Promise<T>,
    options: TransactionOptions = {},
  ): Promise<T> {
    const hooks = new Hooks()
    const enclosing = (): TransactionNode | null => this.nearestOpen()
    return withHooks(this.key, enclosing, hooks, () => this.transactionCollectingHooks(hooks, work, options))
  }

  /** Runs a transaction and collects its due hooks in `hooks`: the caller runs them after releasing the connection. */
  async transactionCollectingHooks<T>(
    hooks: Hooks,
    work: (tx: Transaction) => Promise<T>,
    options: TransactionOptions,
    limits = transactionLimits(options),
  ): Promise<T> {
    const { retries = 0, forceRollback = false } = checkTransactionOptions(options, work)
    const afterEnd = (due: readonly Hook[]): undefined => {
      hooks.add(due)
    }
    const opening = new Opening(options, limits, false, this.callSiteForChild(), afterEnd)
    const runOnce = async (): Promise<T> => {
      // Hooks of an earlier, failed run are dropped.
      hooks.clear()
      const tx = await this.open(opening)
      let result: T
      try {
        result = await runBound(this.key, tx, () => this.#runWork(work, tx))
      } catch (error) {
        await tx.fail(error)
        throw error
      }
      await tx.finish(forceRollback)
      return result
    }
    return retries > 0 && this.mayRetry ? withRetries(retries, runOnce) : runOnce()
  }

  #runWork<T>(work: (tx: Transaction) => Promise<T>, tx: Transaction): Promise<T> {
    const isObserved = this.parent === null && this.lease instanceof ObservedLease
    return isObserved ? this.lease.runInTransaction(() => work(tx)) : work(tx)
  }

  override async begin(options: TransactionOptions = {}): Promise<ChildTransaction> {
    const afterEnd = (hooks: readonly Hook[]): Promise<void> => runHooks(this.key, this.nearestOpen(), hooks)
    return this.beginHandle(options, transactionLimits(options), afterEnd)
  }

  /** Begins a transaction that the caller ends. `afterEnd` gets the hooks that are due then. */
  async beginHandle(
    options: TransactionOptions,
    limits: Limits,
    afterEnd: (hooks: readonly Hook[]) => Promise<void>,
  ): Promise<ChildTransaction> {
    checkTransactionOptions(options)
    if (options.retries !== undefined || options.forceRollback !== undefined) {
      throw new ConfigurationError(
        'begin() takes neither retries nor forceRollback: what is ended by hand cannot be run again, and ends as it is told.',
      )
    }
    return this.open(new Opening(options, limits, true, this.callSiteForChild(), afterEnd))
  }

  /** Returns the call site of a new child, for errors; null on a connection, where it is not worth the time. */
  protected callSiteForChild(): Error | null {
    return this.parent === null ? null : captureCallSite()
  }

  /** Returns this node or its nearest open ancestor: hooks run in it. */
  protected nearestOpen(): TransactionNode | null {
    return this.isOver ? (this.parent?.nearestOpen() ?? null) : this
  }

  /** Takes this node's turn if it is free; else returns null. A statement or a child keeps it until it ends. */
  tryTakeTurn(): Unlock | null {
    this.#refuseIfEnded(!this.isAccepting)
    this.refuseSelfDeadlock()
    return this.turns.tryLock()
  }

  /** Waits for this node's turn. */
  async waitForTurn(limits: Limits): Promise<Unlock> {
    const millis = this.backend.settings.pool.acquireTimeoutMillis
    const bounded =
      this.handleCount > 0 ? limits.within(millis, () => this.#waitTimeoutError(millis)) : limits
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
    this.beginSection(bounded)
    try {
      return await work(this.lease, bounded)
    } finally {
      this.lease.endSection()
      unlock()
    }
  }

  /** Returns a call's limits combined with those of this node and of its ancestors. */
  bounded(limits: Limits): Limits {
    const own = limits.and(this.limits)
    return this.parent === null ? own : this.parent.bounded(own)
  }

  /** Begins a section of the lease in a turn that the caller has taken. Its statements are refused once this node has ended. */
  beginSection(limits: Limits): void {
    this.lease.beginSection(this.#isOverGuard, limits)
  }

  /** Returns where a stream reads its rows. `statements`, if given, runs its statements instead of this node. */
  streamSource(limits: Limits, statements: Pick<StatementRunner, 'use'> = this): StreamSource {
    if (this.#currentDescendant() === this) return this.streamSourceInDescendant(limits, statements)
    // The outer transaction is used inside the inner one: `use` refuses that when the stream begins.
    return sharedSource(limits, (bounded, work) => this.use(bounded, STREAM, work))
  }

  /** Returns where a stream reads its rows: in the descendant that is current at the first read, if there is one. */
  streamSourceInDescendant(limits: Limits, statements: Pick<StatementRunner, 'use'> = this): StreamSource {
    let reader: TransactionNode | undefined
    return sharedSource(limits, (bounded, work) => {
      reader ??= this.#currentDescendant()
      const node = reader.#currentDescendant()
      return (node === this ? statements : node).use(bounded, STREAM, work)
    })
  }

  /** Makes `child` the open child of this node. */
  adopt(child: TransactionNode): void {
    this.child = child
    this.lease.transactionParent = child
  }

  disown(child: TransactionNode): void {
    if (this.child !== child) return
    this.child = null
    this.lease.transactionParent = this
  }

  /** Waits until all accepted statements have ended, and holds the turn so that no other can start. */
  drain(): Promise<Unlock> {
    return this.turns.lock(Limits.none)
  }

  isInside(other: TransactionNode): boolean {
    for (let node = this.parent; node !== null; node = node.parent) {
      if (node === other) return true
    }
    return false
  }

  /**
   * @throws TransactionClosedError when this node, an ancestor or the lease has ended; for a child that the caller ends also
   * when the end of this node has begun: it would wait for ever for the child
   */
  refuseChildIfEnded(isHandle: boolean): void {
    this.#refuseIfEnded(isHandle && !this.isAccepting)
  }

  get isOpen(): boolean {
    return !this.isOver
  }

  /** True when this node, an ancestor or the lease has ended. */
  get isOver(): boolean {
    return this.hasEnded || this.lease.isEnded || this.parent?.isOver === true
  }

  #refuseIfEnded(isEnded: boolean): void {
    if (!isEnded && !this.isOver) return
    this.lease.refuseIfEnded()
    throw new TransactionClosedError(
      `The statement did not run: its ${this.title} has ended. Something still runs after the work that it belongs to ` +
        'has settled; await it there, or wrap it in database.detached() to let it run on its own.',
    )
  }

  /** Refuses a statement inside an open descendant: it would wait for the descendant, which waits for the statement. */
  protected refuseSelfDeadlock(): void {
    const inner = this.#currentDescendant()
    if (inner === this) return
    throw new TransactionError(
      `The outer ${this.title} is used inside the ${inner.title} that is open in it, and would wait for it for ever. ` +
        `Use the inner one, or the database itself.\nThe inner one was ${inner.#describeSite()}`,
    )
  }

  /** Returns the scope's current node if it is an open descendant of this one; else this one. */
  #currentDescendant(): TransactionNode {
    const bound = boundTo(this.key)
    const inner = bound instanceof LazyValue ? bound.opened : bound
    return inner instanceof TransactionNode && inner.isOpen && inner.isAccepting && inner.isInside(this)
      ? inner
      : this
  }

  #waitTimeoutError(millis: number): TransactionError {
    const { child } = this
    return new TransactionError(
      `The ${this.title} waited ${millis} ms for the ${child?.title ?? 'transaction'} in it to end. ` +
        `Commit it or roll it back first.${child === null ? '' : `\nIt was ${child.#describeSite()}`}`,
    )
  }

  #describeSite(): string {
    return `opened ${siteOf(this.#site) ?? 'at a place that was not recorded'}`
  }
}

const MIN_BACKOFF_MILLIS = 10
const MAX_BACKOFF_MILLIS = 1000

/** Calls `run` again after each `SerializationError`, at most `retries` times, with a pause in between. */
async function withRetries<T>(retries: number, run: () => Promise<T>): Promise<T> {
  for (let failures = 1; ; failures += 1) {
    try {
      return await run()
    } catch (error) {
      if (!(databaseErrorOf(error) instanceof SerializationError) || failures > retries) throw error
      await backOff(failures)
    }
  }
}

/** Waits for a random time, so that two transactions that collided do not collide again in step. */
function backOff(failures: number): Promise<void> {
  const maxMillis = Math.min(MIN_BACKOFF_MILLIS * 2 ** (failures - 1), MAX_BACKOFF_MILLIS)
  return new Promise((resolve) => setTimeout(resolve, maxMillis * Math.random()))
}
