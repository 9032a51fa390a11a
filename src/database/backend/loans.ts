/** The connections that are out: under which lease, since when, and who is waited for at the end. */
import type { Holder } from '../errors'
import type { Unlock } from '../mutex'
import type { Session } from './dialect'
import type { Lease } from './lease'

export interface Loan {
  readonly lease: Lease
  /** Lets the next writer take a connection, where they queue for that. */
  readonly leaveQueue: Unlock | null
  /** It is being taken back. */
  isEnding: boolean
}

export class Loans {
  readonly #bySession = new Map<Session, Loan>()
  #whenNone: (() => void) | undefined

  get count(): number {
    return this.#bySession.size
  }

  add(loan: Loan): void {
    this.#bySession.set(loan.lease.session, loan)
  }

  /** The loan of that very lease, or undefined when it has ended. */
  of(lease: Lease): Loan | undefined {
    const loan = this.#bySession.get(lease.session)
    return loan?.lease === lease ? loan : undefined
  }

  /** Does nothing when it has ended already. */
  remove(loan: Loan): void {
    if (this.of(loan.lease) === undefined) return
    this.#bySession.delete(loan.lease.session)
    loan.leaveQueue?.()
    if (this.count === 0) this.#whenNone?.()
  }

  all(): readonly Loan[] {
    return [...this.#bySession.values()]
  }

  /** When the database last answered one of those that are out. */
  get heardAt(): number {
    return Math.max(...this.all().map(({ lease }) => lease.answeredAt ?? -Infinity))
  }

  /** Longest first. */
  holders(): readonly Holder[] {
    return this.all()
      .map(({ lease }) => lease.describe())
      .toSorted((a, b) => b.heldMillis - a.heldMillis)
  }

  /** Resolves when nothing is out any more. */
  async none(): Promise<void> {
    if (this.count === 0) return
    await new Promise<void>((resolve) => {
      this.#whenNone = resolve
    })
  }
}
