/** A connection that is out: who has it, since when, and whether he still may use it. */
import type { Holder } from '../errors'
import type { Scope } from '../context/scope'
import { siteOf } from '../context/call-site'
import { tooLate, type Why } from './transaction-control'
import type { Session } from '../driver/session'

export abstract class HeldSession {
  /** Another one than at first, if that was lost before it was asked anything. */
  session: Session
  /** Its user has had the driver's connection in his hands. */
  isExposed = false
  /** Its user may have set something on the connection that the next one must not find there. */
  isChanged = false
  readonly #scope: Scope | undefined
  readonly #stack: Error | null
  readonly #since = performance.now()
  /** What it runs now. */
  protected sql: string | null = null
  /** Why nothing may run through it any more. */
  #over: Why | null = null

  /** `scope`: whose it is; `stack`: where it was taken. */
  constructor(session: Session, scope: Scope | undefined, stack: Error | null) {
    this.session = session
    this.#scope = scope
    this.#stack = stack
  }

  /** What its user is called. */
  get label(): string | null {
    return this.#scope?.label ?? null
  }

  /**
   * The driver's connection. Whoever has it may do with it what he likes, so that it must be cleaned afterwards.
   *
   * @throws TransactionClosedError when it was given back, and may be somebody else's by now
   */
  expose(): object {
    this.refuseIfOver()
    this.isChanged = true
    this.isExposed = true
    this.session.exposed?.()
    return this.session.raw
  }

  /** It was given back, or taken back. */
  get isOver(): boolean {
    return this.#over !== null
  }

  /** True while statements can be run: it was not given back, and the connection is whole. */
  get isUsable(): boolean {
    return this.#over === null && this.session.broken === null
  }

  get inTransaction(): boolean {
    return this.isUsable && this.session.inTransaction
  }

  /** Cuts the connection off, unless it is somebody else's by now. */
  destroy(): void {
    if (this.#over === null) this.session.destroy()
  }

  /** Rolls back what is open, unless the connection is somebody else's by now. */
  async reset(): Promise<void> {
    if (this.isUsable) await this.session.reset()
  }

  /** @throws TransactionClosedError when it was given back, or taken back */
  refuseIfOver(): void {
    if (this.#over !== null) throw this.#over('')
  }

  /** The borrower is done: nothing may run through this lease any more, and `why` makes what he is told. */
  end(why: Why = tooLate): void {
    this.#over ??= why
  }

  get heldMillis(): number {
    return performance.now() - this.#since
  }

  /** For several, at a moment that is the same for all: to write out a place takes long enough to turn their order around. */
  describe(now = performance.now()): Holder {
    return {
      label: this.label,
      // Written out for those who ask: that takes far longer than to remember it.
      site: siteOf(this.#stack),
      heldMillis: now - this.#since,
      sql: this.sql,
      inTransaction: this.session.inTransaction,
    }
  }
}
