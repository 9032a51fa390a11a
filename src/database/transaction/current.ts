/** The transaction or connection that queries of this scope run in: the scope's own, or that of a forced rollback. */
import type { Access } from '../driver/statement'
import type { StreamSource, StatementRunner, Work } from '../pool/lease'
import { nestedForceRollback, type ForcedRollback } from './force-rollback'
import { TransactionNode, type ChildTransaction } from './transaction-node'
import type { Limits } from '../context/limits'
import { LazyValue } from '../context/lazy-value'
import type { TransactionOptions } from '../query/queryable'
import { boundTo, runBound } from '../context/scope'

export class CurrentTransaction {
  /** The Database, as the key under which scopes know it. */
  readonly #key: object
  /** The key under which scopes know a forced rollback of their own. */
  readonly #forcedKey = {}
  #forced: ForcedRollback | null = null
  #isForcing = false

  constructor(key: object) {
    this.#key = key
  }

  /** The forced rollback of this scope, or the one that all queries of the Database run in; null if there is none. */
  get forced(): ForcedRollback | null {
    const own = boundTo(this.#forcedKey)
    return own === undefined ? this.#forced : (own as ForcedRollback)
  }

  /** @throws TransactionError inside a transaction, a held connection or another forced rollback */
  async force(begin: () => Promise<ForcedRollback>): Promise<void> {
    if (this.#isForcing || this.find() !== null) throw nestedForceRollback()
    this.#isForcing = true
    try {
      this.#forced = await begin()
    } catch (error) {
      this.#isForcing = false
      throw error
    }
  }

  /**
   * Runs work in a forced rollback of its own, which other scopes do not see.
   *
   * @throws TransactionError inside a transaction, a held connection or another forced rollback
   */
  async forceInScope<T>(begin: () => Promise<ForcedRollback>, work: () => Promise<T>): Promise<T> {
    if (this.find() !== null) throw nestedForceRollback()
    const forced = await begin()
    try {
      return await runBound(this.#forcedKey, forced, work)
    } finally {
      await forced.end(false)
    }
  }

  async endForced(waitForStatements: boolean): Promise<void> {
    const forced = this.#forced
    this.#forced = null
    this.#isForcing = false
    await forced?.end(waitForStatements)
  }

  /** Returns the transaction or connection of this scope, perhaps not opened yet; null if there is none. */
  find(): TransactionNode | LazyValue<TransactionNode> | null {
    const bound = boundTo(this.#key)
    if (bound instanceof TransactionNode || bound instanceof LazyValue)
      return bound as TransactionNode | LazyValue<TransactionNode>
    return this.forced?.node ?? null
  }

  /** Returns what {@link find} finds, opened. Synchronous where possible: awaiting loses the place in the queue. */
  get(): TransactionNode | null | Promise<TransactionNode> {
    const found = this.find()
    return found instanceof LazyValue ? found.get() : found
  }

  /** Begins a transaction in `node` that the caller ends. */
  async beginIn(node: TransactionNode, options: TransactionOptions): Promise<ChildTransaction> {
    const begun = await node.begin(options)
    const { forced } = this
    return forced?.node === node ? forced.track(begun) : begun
  }

  /** Returns what runs statements in this scope; null where each statement takes a connection of its own. */
  statements(): StatementRunner | null {
    const found = this.find()
    if (found === null) return null
    if (found instanceof LazyValue) return this.#lazyStatements(found)
    return this.statementsOf(found)
  }

  /** Returns what runs statements in `node`: the forced rollback, if `node` is its transaction. */
  statementsOf(node: TransactionNode): StatementRunner {
    const { forced } = this
    return forced?.node === node ? forced : node
  }

  #lazyStatements(node: LazyValue<TransactionNode>): StatementRunner {
    return {
      use: async <T>(limits: Limits, access: Access, work: Work<T>): Promise<T> => {
        // A cancelled caller gets its own error, not the one about the ended scope.
        limits.check()
        return this.statementsOf(await node.get()).use(limits, access, work)
      },
      streamSource: (limits): StreamSource => {
        let reading: Promise<StreamSource> | undefined
        const opened = (): Promise<StreamSource> =>
          (reading ??= node
            .get()
            .then((opened) => opened.streamSourceInDescendant(limits, this.statementsOf(opened))))
        return {
          isExclusive: false,
          use: async (work) => (await opened()).use(work),
          close: async (work) => (await opened()).close(work),
          release: () => Promise.resolve(),
        }
      },
    }
  }
}
