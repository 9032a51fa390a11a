/** One transaction that everything runs in and that is rolled back at the end: for tests. */
import type { Backend } from '../query/backend'
import type { Access } from '../driver/statement'
import type { StreamSource, Work } from '../pool/lease'
import type { Pool } from '../pool/pool'
import { HeldConnection } from './connection'
import { type Holder, TransactionError } from '../errors'
import type { TransactionNode } from './transaction-node'
import { Limits } from '../context/limits'
import { currentScope, type Scope } from '../context/scope'
import { captureCallSite, siteOf } from '../context/call-site'
import { unlimited } from './opening'
import { OpenTransaction } from './transaction'

/** What is open until somebody ends it. */
interface Handle {
  readonly isOpen: boolean
}

interface Tracked {
  readonly since: number
  readonly site: string | null
  readonly scope: Scope | undefined
}

export class ForcedRollback {
  readonly #handles = new Map<Handle, Tracked>()
  readonly #connection: HeldConnection
  readonly #transaction: OpenTransaction

  private constructor(connection: HeldConnection, transaction: OpenTransaction) {
    this.#connection = connection
    this.#transaction = transaction
  }

  static async begin(backend: Backend, key: object, pool: Pool): Promise<ForcedRollback> {
    const lease = await pool.lend(Limits.of(undefined, 'BEGIN'), { writes: true, isInternal: true })
    const connection = new HeldConnection(backend, key, pool, lease)
    try {
      return new ForcedRollback(connection, await OpenTransaction.openForced(connection))
    } catch (error) {
      await connection.release()
      throw error
    }
  }

  /** What everything runs in that has no transaction of its own. */
  get level(): TransactionNode {
    return this.#transaction
  }

  /**
   * Runs one statement. On a database where a failed one spoils its whole transaction it gets a savepoint of its
   * own, so that the test can go on as the program would.
   */
  async use<T>(limits: Limits, access: Access, work: Work<T>): Promise<T> {
    const { backend } = this.#transaction
    if (!backend.dialect.errorAbortsTransaction) return this.#transaction.use(limits, access, work)
    const savepoint = await OpenTransaction.open(this.#transaction, unlimited(limits))
    let result: T
    try {
      result = await savepoint.use(limits, access, work)
    } catch (error) {
      await savepoint.fail(error)
      throw error
    }
    await savepoint.finish(false)
    return result
  }

  streamSource(limits: Limits): StreamSource {
    return this.#transaction.streamSource(limits, this)
  }

  /** Remembers what somebody has to end by hand. */
  track<H extends Handle>(handle: H): H {
    this.#handles.set(handle, {
      since: performance.now(),
      site: siteOf(captureCallSite()),
      scope: currentScope(),
    })
    return handle
  }

  /** Whoever has something open in it, longest first: the one connection itself is nobody's. */
  holders(): readonly Holder[] {
    return [...this.#handles].flatMap(([handle, { since, site, scope }]) => {
      if (!handle.isOpen) {
        this.#handles.delete(handle)
        return []
      }
      const heldMillis = performance.now() - since
      return [{ label: scope?.label ?? null, site, heldMillis, sql: null, inTransaction: true }]
    })
  }

  /** Rolls it back: what still runs in it is waited for if `drains` says so, and else cancelled. */
  async end(drains: boolean): Promise<void> {
    if (drains) (await this.#transaction.drain())()
    await this.#transaction.fail(null)
    await this.#connection.release()
  }
}

export function alreadyInside(): TransactionError {
  return new TransactionError(
    'forceRollback() rolls all of its Database back, so it cannot begin inside of a transaction, a held connection or ' +
      'another forceRollback().',
  )
}
