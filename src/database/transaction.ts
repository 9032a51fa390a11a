/** A transaction: BEGIN … COMMIT on a held connection; inside another one, a savepoint. */
import { ISOLATION_LEVELS, type Result } from './backend/dialect'
import {
  attachCleanup,
  CommitUnknownError,
  ConfigurationError,
  ConnectionError,
  SerializationError,
  TransactionClosedError,
  TransactionError,
} from './errors'
import { Held } from './held'
import { Limits, timedOut } from './limits'
import type { Unlock } from './mutex'
import { checked, type Transaction, type TransactionOptions, TRANSACTION_OPTIONS } from './queryable'
import { runBound } from './scope'

/** Work to be done when the outermost transaction has ended. */
export interface Hook {
  readonly on: 'commit' | 'rollback'
  readonly work: () => unknown
}

const FIRST_BACKOFF_MILLIS = 10
const LONGEST_BACKOFF_MILLIS = 1000

/** Runs work in a transaction on what is held, again if it may, and then what its end leaves to do. */
export async function transaction<T>(
  on: Held,
  work: (tx: Transaction) => Promise<T>,
  options: TransactionOptions = {},
): Promise<T> {
  const after: Hook[] = []
  return followedBy(on.key, on, after, () => transactionWithRetries(on, work, options, after))
}

/** Runs work and then the hooks that it has left. An error of the work stays the one that is thrown. */
export async function followedBy<T>(
  key: object,
  around: Held | null,
  after: readonly Hook[],
  work: () => Promise<T>,
): Promise<T> {
  let result: T
  try {
    result = await work()
  } catch (error) {
    await runHooks(key, around, after).catch((cleanup: unknown) => {
      attachCleanup(error, cleanup)
    })
    throw error
  }
  await runHooks(key, around, after)
  return result
}

/** The same, but the hooks are the caller's to run: for one who has a connection to give back first. */
export async function transactionWithRetries<T>(
  on: Held,
  work: (tx: Transaction) => Promise<T>,
  options: TransactionOptions,
  after: Hook[],
): Promise<T> {
  const retries = on instanceof OpenTransaction ? 0 : (checkedOptions(options).retries ?? 0)
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await once(on, work, options, after)
    } catch (error) {
      if (!(error instanceof SerializationError) || attempt > retries) throw error
      // The hooks of a try that is made again never happened.
      after.length = 0
      await backOff(attempt)
    }
  }
}

async function once<T>(
  on: Held,
  work: (tx: Transaction) => Promise<T>,
  options: TransactionOptions,
  after: Hook[],
): Promise<T> {
  const tx = await OpenTransaction.open(on, options, false, (hooks) => {
    after.push(...hooks)
    return Promise.resolve()
  })
  let result: T
  try {
    result = await runBound(on.key, tx, () => work(tx))
  } catch (error) {
    await tx.fail(error)
    throw error
  }
  await tx.finish(options.forceRollback === true)
  return result
}

/** Begins a transaction that its caller ends by hand. */
export async function begin(
  on: Held,
  options: TransactionOptions = {},
  afterEnd: () => Promise<void> = () => Promise.resolve(),
  around: Held | null = on,
): Promise<Transaction> {
  return OpenTransaction.open(on, options, true, async (hooks) => {
    await afterEnd()
    await runHooks(on.key, around, hooks)
  })
}

async function runHooks(key: object, around: Held | null, hooks: readonly Hook[]): Promise<void> {
  for (const { on, work } of hooks) {
    try {
      await runBound(key, around, async () => work())
    } catch (cause) {
      throw new TransactionError(
        `The transaction has ended as it was told to, but the work that was to follow its ${on} failed.`,
        { cause },
      )
    }
  }
}

export class OpenTransaction extends Held implements Transaction {
  readonly depth: number
  readonly #options: TransactionOptions
  readonly #deadline: number
  readonly #name: string
  readonly #after: (hooks: readonly Hook[]) => Promise<void>
  readonly #afterSql: readonly string[]
  readonly #leaveParent: () => void
  readonly #hooks: Hook[] = []
  #state: 'open' | 'ending' | 'committed' | 'rolled back' = 'open'
  #ending: Promise<void> | null = null

  private constructor(
    on: Held,
    options: TransactionOptions,
    isHandle: boolean,
    unlockParent: Unlock,
    afterSql: readonly string[],
    after: (hooks: readonly Hook[]) => Promise<void>,
  ) {
    super({ backend: on.backend, key: on.key, parent: on, lease: on.lease, isHandle })
    this.depth = on instanceof OpenTransaction ? on.depth + 1 : 1
    this.#options = options
    this.#deadline =
      options.timeoutMillis === undefined ? Infinity : performance.now() + options.timeoutMillis
    this.#name = `millpond_${this.depth}`
    this.#after = after
    this.#afterSql = afterSql
    const abandon = on.adopt(this)
    this.#leaveParent = () => {
      abandon()
      unlockParent()
    }
  }

  /** @throws the reason why BEGIN or SAVEPOINT failed; then nothing is open */
  static async open(
    on: Held,
    options: TransactionOptions,
    isHandle: boolean,
    after: (hooks: readonly Hook[]) => Promise<void>,
  ): Promise<OpenTransaction> {
    checkedOptions(options)
    const isOutermost = !(on instanceof OpenTransaction)
    if (!isOutermost) on.#refuseOtherModes(options)
    const limits = Limits.of({ signal: options.signal, timeoutMillis: options.timeoutMillis }, 'BEGIN')
    const unlock = await on.takeTurn(limits)
    const sql = isOutermost
      ? on.backend.dialect.begin(options)
      : { open: [`SAVEPOINT millpond_${on.depth + 1}`], close: [] }
    try {
      await on.section(async (lease) => {
        for (const text of sql.open) await lease.run(on.backend.compiler.plain(text), limits)
      })
    } catch (error) {
      // Half of a BEGIN may have happened; a session that is not clean does not survive its return.
      if (isOutermost) await resetAfterFailedBegin(on, sql.close, error)
      unlock()
      throw error
    }
    return new OpenTransaction(on, options, isHandle, unlock, sql.close, after)
  }

  protected get title(): string {
    return this.depth === 1 ? 'transaction' : `transaction (savepoint, depth ${this.depth})`
  }

  get state(): 'open' | 'committed' | 'rolled back' {
    return this.#state === 'ending' ? 'open' : this.#state
  }

  protected get isAccepting(): boolean {
    return this.#state === 'open'
  }

  protected get isGone(): boolean {
    return this.#state === 'rolled back' || this.#state === 'committed'
  }

  protected limit(limits: Limits): Limits {
    const { signal, timeoutMillis } = this.#options
    const bounded =
      this.#deadline === Infinity
        ? limits
        : limits.within(this.#deadline - performance.now(), (cause) =>
            timedOut('', `timeoutMillis of ${timeoutMillis} ms of its transaction`, cause),
          )
    return signal === undefined ? bounded : bounded.and(signal)
  }

  override async transaction<T>(
    work: (tx: Transaction) => Promise<T>,
    options?: TransactionOptions,
  ): Promise<T> {
    return transaction(this, work, options)
  }

  override begin(options?: TransactionOptions): Promise<Transaction> {
    return begin(this, options)
  }

  afterCommit(work: () => unknown): void {
    this.#refuseIfEnded('afterCommit()')
    this.#hooks.push({ on: 'commit', work })
  }

  afterRollback(work: () => unknown): void {
    this.#refuseIfEnded('afterRollback()')
    this.#hooks.push({ on: 'rollback', work })
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
    if (this.child?.isHandle === true) {
      throw new TransactionError(
        'A transaction inside this one is still open. Commit it or roll it back first.',
      )
    }
    this.#state = 'ending'
    this.#ending = this.#commitWhenDrained()
    await this.#ending
  }

  async #commitWhenDrained(): Promise<void> {
    const unlock = await this.drain()
    try {
      this.limit(Limits.of({}, 'COMMIT')).check()
      await this.#commit()
    } catch (error) {
      await this.#rollBack(error)
      throw error
    } finally {
      unlock()
    }
    await this.#end('committed')
  }

  /** Rolls back. Does nothing when that has happened already. @throws TransactionClosedError after a commit */
  async rollback(): Promise<void> {
    if (this.#state === 'rolled back') return
    this.#refuseIfEnded('rollback()')
    await this.fail(null)
  }

  /** The end of a block that succeeded: commits, unless it was ended inside. */
  async finish(forceRollback: boolean): Promise<void> {
    if (this.#state !== 'open') {
      await this.#endedBefore()
      return
    }
    if (forceRollback) {
      const unlock = await this.drainAccepted()
      unlock()
      await this.fail(null)
      return
    }
    const child = this.child
    if (child?.isHandle === true) {
      const error = new TransactionError(
        'The work has ended, but a transaction that it began inside is still open, so nothing was committed. ' +
          'End it with commit() or rollback(), or declare it with `await using`.',
      )
      await this.fail(error)
      throw error
    }
    await this.commit()
  }

  /** The end of a block that failed: cancels what runs, refuses what waits, rolls back. */
  async fail(error: unknown): Promise<void> {
    // A commit that is under way cannot be called back.
    await this.#ending?.catch(() => undefined)
    if (this.isGone) return
    this.#state = 'rolled back'
    await this.lease.interrupt()
    await this.#rollBack(error)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#state === 'open') await this.rollback()
  }

  async #commit(): Promise<void> {
    this.#refuseIfParentIsGone()
    if (this.depth > 1) {
      await this.#run(`RELEASE SAVEPOINT ${this.#name}`)
      return
    }
    let result: Result
    try {
      result = await this.#run('COMMIT')
    } catch (cause) {
      if (!(cause instanceof ConnectionError)) throw cause
      throw new CommitUnknownError(
        'The connection was lost while the server was committing, so nobody knows whether it did. ' +
          'Look for what the transaction wrote before doing it again.',
        { cause },
      )
    }
    if (result.command === 'ROLLBACK') {
      throw new TransactionError(
        'The server rolled the transaction back instead of committing it, because a statement in it had failed and ' +
          'the error was caught. Let the error leave the transaction, or put what may fail into one of its own inside.',
      )
    }
  }

  async #rollBack(error: unknown): Promise<void> {
    this.#state = 'rolled back'
    const { session } = this.lease
    try {
      // With the parent gone, there is nothing left to roll back to.
      if (session.broken === null && session.inTransaction && !this.#parentIsGone()) {
        if (this.depth === 1) {
          await this.#run('ROLLBACK')
        } else {
          await this.#run(`ROLLBACK TO SAVEPOINT ${this.#name}`)
          if (!this.#parentIsGone()) await this.#run(`RELEASE SAVEPOINT ${this.#name}`)
        }
      }
    } catch (cleanup) {
      // What state the connection is in nobody knows: it must not be used again.
      session.destroy()
      attachCleanup(error, cleanup)
    }
    await this.#end('rolled back')
  }

  async #end(state: 'committed' | 'rolled back'): Promise<void> {
    this.#state = state
    await this.#runAfterSql()
    this.#leaveParent()
    const outcome = state === 'committed' ? 'commit' : 'rollback'
    if (this.parent instanceof OpenTransaction) {
      // A commit in here is none yet: what it leads to is up to the parent.
      this.parent.#hooks.push(...this.#hooks.flatMap((hook) => this.#handUp(hook, outcome)))
      await this.#after([])
    } else {
      await this.#after(this.#hooks.filter((hook) => hook.on === outcome))
    }
  }

  #handUp(hook: Hook, outcome: 'commit' | 'rollback'): Hook[] {
    if (outcome === 'commit') return [hook]
    // It was rolled back, whatever becomes of its parent.
    return hook.on === 'commit' ? [] : [{ ...hook, on: 'commit' }, hook]
  }

  async #runAfterSql(): Promise<void> {
    try {
      if (this.lease.session.broken === null) for (const sql of this.#afterSql) await this.#run(sql)
    } catch {
      this.lease.session.destroy()
    }
  }

  #run(sql: string): Promise<Result> {
    return this.lease.runThrough(this.backend.compiler.plain(sql))
  }

  /** Waits for what was accepted so far, and accepts nothing more. */
  protected async drainAccepted(): Promise<Unlock> {
    this.#state = 'ending'
    return this.drain()
  }

  /** The block was ended inside, by its handle; that may still be under way. */
  async #endedBefore(): Promise<void> {
    await this.#ending
    this.#refuseIfParentIsGone()
  }

  #parentIsGone(): boolean {
    for (let level = this.parent; level instanceof OpenTransaction; level = level.parent) {
      if (level.isGone) return true
    }
    return false
  }

  #refuseIfParentIsGone(): void {
    if (!this.#parentIsGone()) return
    throw new TransactionClosedError('The transaction around this one was rolled back, and this one with it.')
  }

  #refuseIfEnded(what: string): void {
    if (this.#state === 'open') return
    throw new TransactionClosedError(`${what} came too late: the transaction is ${this.#state} already.`)
  }

  #refuseOtherModes(options: TransactionOptions): void {
    for (const mode of ['isolation', 'readOnly', 'deferrable'] as const) {
      const asked = options[mode]
      const has = this.#outermost().#options[mode]
      if (asked === undefined || asked === has) continue
      throw new TransactionError(
        `A transaction inside another one cannot have ${mode} ${JSON.stringify(asked)}: the outermost one has ` +
          `${has === undefined ? 'the default' : JSON.stringify(has)}. Ask for it there.`,
      )
    }
  }

  #outermost(): OpenTransaction {
    return this.parent instanceof OpenTransaction ? this.parent.#outermost() : this
  }
}

async function resetAfterFailedBegin(on: Held, close: readonly string[], error: unknown): Promise<void> {
  const { session } = on.lease
  try {
    if (session.broken === null) await session.reset()
    for (const sql of close) await on.lease.runThrough(on.backend.compiler.plain(sql))
  } catch (cleanup) {
    session.destroy()
    attachCleanup(error, cleanup)
  }
}

function checkedOptions(options: TransactionOptions): TransactionOptions {
  checked(options, TRANSACTION_OPTIONS)
  const { isolation, retries } = options
  if (isolation !== undefined && !ISOLATION_LEVELS.includes(isolation)) {
    throw new ConfigurationError(
      `isolation is one of ${ISOLATION_LEVELS.join(', ')}, got ${JSON.stringify(isolation)}.`,
    )
  }
  if (retries !== undefined && (!Number.isInteger(retries) || retries < 0)) {
    throw new ConfigurationError(`retries is a whole number from 0 up, got ${String(retries)}.`)
  }
  return options
}

/** Jittered, so that two transactions that met once do not meet again in step. */
function backOff(attempt: number): Promise<void> {
  const longest = Math.min(FIRST_BACKOFF_MILLIS * 2 ** (attempt - 1), LONGEST_BACKOFF_MILLIS)
  return new Promise((resolve) => setTimeout(resolve, longest * Math.random()))
}
