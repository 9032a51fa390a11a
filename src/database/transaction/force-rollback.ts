/** A forced rollback, for tests: one transaction that all queries run in, rolled back at the end. */
import type { Backend } from '../query/backend'
import type { Access } from '../driver/statement'
import type { StreamSource, Work } from '../pool/lease'
import type { Pool } from '../pool/pool'
import { HeldConnection } from './connection'
import { type Holder, TransactionError } from '../errors'
import { type TransactionNode, plainOpening } from './transaction-node'
import { Limits } from '../context/limits'
import { currentScope, type Scope } from '../context/scope'
import { captureCallSite, siteOf } from '../context/call-site'
import { OpenTransaction } from './transaction'

/** A transaction or connection that the caller ends. */
interface OpenHandle {
  readonly isOpen: boolean
}

interface HandleInfo {
  readonly since: number
  readonly site: string | null
  readonly scope: Scope | undefined
}

export class ForcedRollback {
  readonly #handles = new Map<OpenHandle, HandleInfo>()
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

  /** The transaction that queries without a transaction of their own run in. */
  get node(): TransactionNode {
    return this.#transaction
  }

  /**
   * Runs one statement. Where a failed statement aborts the whole transaction, it gets a savepoint of its own, so that
   * the test can go on as the program would.
   */
  async use<T>(limits: Limits, access: Access, work: Work<T>): Promise<T> {
    const { backend } = this.#transaction
    if (!backend.dialect.errorAbortsTransaction) return this.#transaction.use(limits, access, work)
    const savepoint = await OpenTransaction.open(this.#transaction, plainOpening(limits))
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

  /** Records a handle, for `holders()`. */
  track<H extends OpenHandle>(handle: H): H {
    this.#handles.set(handle, {
      since: performance.now(),
      site: siteOf(captureCallSite()),
      scope: currentScope(),
    })
    return handle
  }

  /** Returns the open handles, longest first. The connection itself has no holder. */
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

  /** Rolls back, after waiting for running statements or, without `waitForStatements`, cancelling them. */
  async end(waitForStatements: boolean): Promise<void> {
    if (waitForStatements) (await this.#transaction.drain())()
    await this.#transaction.fail(null)
    await this.#connection.release()
  }
}

export function nestedForceRollback(): TransactionError {
  return new TransactionError(
    'forceRollback() rolls all of its Database back, so it cannot begin inside of a transaction, a held connection or ' +
      'another forceRollback().',
  )
}
