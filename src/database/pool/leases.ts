/** The list of leases that are out: who holds what, and when all have come back. */
import type { Holder } from '../errors'
import { LinkedList } from '../context/linked-list'
import { waitAtMost } from '../context/timers'
import type { Lease } from './lease'
import type { StatementErrorFactory } from './transaction-control'

export class Leases {
  readonly #out = new LinkedList<Lease>()
  #onAllReturned: (() => void) | undefined

  /** Leases that have a connection. */
  get count(): number {
    return this.#all().filter(({ awaitsReplacement }) => !awaitsReplacement).length
  }

  /** Returns the lease that has this driver's connection. */
  byRaw(raw: object): Lease | undefined {
    return this.#all().find(({ session }) => session.raw === raw)
  }

  add(lease: Lease): void {
    lease.entry = this.#out.add(lease)
  }

  /** Takes a lease off the list and stops its watches. Does nothing the second time. */
  remove(lease: Lease): void {
    if (lease.entry === null || !this.#out.remove(lease.entry)) return
    lease.awaitsReplacement = false
    lease.endWriteTurn?.()
    lease.stopWatching?.()
    if (this.#out.size === 0) this.#onAllReturned?.()
  }

  /**
   * Takes all leases back by force: cancels what they run, waits for that at most `waitMillis`, and destroys their
   * sessions. `makeError` makes the errors of their holders; `onCutOff` is called for each.
   */
  async cutOff(
    waitMillis: number,
    makeError: StatementErrorFactory,
    onCutOff: (lease: Lease) => void,
  ): Promise<void> {
    // A server notices a closed connection only when it writes to it, so a long statement has to be cancelled.
    const interrupted = this.#all().map((lease) => {
      lease.end(makeError)
      return lease.interrupt(makeError)
    })
    await waitAtMost(waitMillis, Promise.all(interrupted))
    for (const lease of this.#all()) {
      lease.session.destroy()
      this.remove(lease)
      onCutOff(lease)
    }
  }

  /** When the database last answered a statement of one of them; -Infinity if it has not. */
  get heardAt(): number {
    return Math.max(...this.#all().map(({ answeredAt }) => answeredAt ?? -Infinity))
  }

  /** Returns who holds what, longest first. */
  holders(): readonly Holder[] {
    const now = performance.now()
    return this.#all()
      .filter(({ awaitsReplacement }) => !awaitsReplacement)
      .map((lease) => lease.describe(now))
      .toSorted((a, b) => b.heldMillis - a.heldMillis)
  }

  /** Resolves when no lease is out. */
  async allReturned(): Promise<void> {
    if (this.#out.size === 0) return
    await new Promise<void>((resolve) => {
      this.#onAllReturned = resolve
    })
  }

  #all(): readonly Lease[] {
    return this.#out.all().map(({ value }) => value)
  }
}
