/** What the queries of a Database run in here: the transaction or connection of their scope, or that of a forced rollback. */
import type { Access } from '../driver/statement'
import type { StreamSource, StatementRunner, Work } from '../pool/lease'
import { alreadyInside, type ForcedRollback } from './force-rollback'
import { TransactionNode, type OpenLevel } from './transaction-node'
import type { Limits } from '../context/limits'
import { LazyValue } from '../context/lazy-value'
import type { TransactionOptions } from '../query/queryable'
import { boundTo } from '../context/scope'

export class CurrentTransaction {
  /** The Database, as the key under which scopes know it. */
  readonly #key: object
  #forced: ForcedRollback | null = null
  #isForcing = false

  constructor(key: object) {
    this.#key = key
  }

  /** Everything runs in it that has no transaction of its own, whoever runs it; for tests. */
  get forced(): ForcedRollback | null {
    return this.#forced
  }

  /** @throws TransactionError when there is something to run in already */
  async force(begin: () => Promise<ForcedRollback>): Promise<void> {
    if (this.#isForcing || this.find() !== null) throw alreadyInside()
    this.#isForcing = true
    try {
      this.#forced = await begin()
    } catch (error) {
      this.#isForcing = false
      throw error
    }
  }

  async endForced(drains: boolean): Promise<void> {
    const forced = this.#forced
    this.#forced = null
    this.#isForcing = false
    await forced?.end(drains)
  }

  find(): TransactionNode | LazyValue<TransactionNode> | null {
    const bound = boundTo(this.#key)
    if (bound instanceof TransactionNode || bound instanceof LazyValue)
      return bound as TransactionNode | LazyValue<TransactionNode>
    return this.#forced?.level ?? null
  }

  /** What {@link find} finds, opened if need be. Without a promise where none is needed: who waits for one loses his place in the queue. */
  get(): TransactionNode | null | Promise<TransactionNode> {
    const found = this.find()
    return found instanceof LazyValue ? found.get() : found
  }

  /** Begins a transaction by hand in `held`. */
  async beginIn(held: TransactionNode, options: TransactionOptions): Promise<OpenLevel> {
    const begun = await held.begin(options)
    return this.#forced?.level === held ? this.#forced.track(begun) : begun
  }

  /** How statements run there; null where each takes a connection of its own. */
  statements(): StatementRunner | null {
    const found = this.find()
    if (found === null) return null
    if (found instanceof LazyValue) return onDemand(found)
    return this.statementsOf(found)
  }

  /** How statements run in `held`: in a forced rollback, not just in it. */
  statementsOf(held: TransactionNode): StatementRunner {
    return this.#forced !== null && held === this.#forced.level ? this.#forced : held
  }
}

function onDemand(held: LazyValue<TransactionNode>): StatementRunner {
  return {
    use: async <T>(limits: Limits, access: Access, work: Work<T>): Promise<T> => {
      // Whoever was called off is told that, and not that he is late.
      limits.check()
      return (await held.get()).use(limits, access, work)
    },
    streamSource: (limits): StreamSource => {
      let reading: Promise<StreamSource> | undefined
      const opened = (): Promise<StreamSource> =>
        (reading ??= held.get().then((level) => level.readingInside(limits)))
      return {
        isExclusive: false,
        use: async (work) => (await opened()).use(work),
        close: async (work) => (await opened()).close(work),
        release: () => Promise.resolve(),
      }
    },
  }
}
