/** The leases that are out: who holds what, since when, and who is waited for at the end. */
import type { Holder } from '../errors'
import { LinkedList } from '../context/linked-list'
import { waitAtMost } from '../context/watchdog'
import type { Lease } from './lease'
import type { StatementErrorFactory } from './transaction-control'

export class Leases {
  readonly #out = new LinkedList<Lease>()
  #onAllReturned: (() => void) | undefined

  /** How many have a connection. */
  get count(): number {
    return this.#all().filter(({ awaitsReplacement }) => !awaitsReplacement).length
  }

  /** The one by which a connection of the driver is out. */
  byRaw(raw: object): Lease | undefined {
    return this.#all().find(({ session }) => session.raw === raw)
  }

  add(lease: Lease): void {
    lease.entry = this.#out.add(lease)
  }

  /** Does nothing when it has left already. */
  remove(lease: Lease): void {
    if (lease.entry === null || !this.#out.remove(lease.entry)) return
    lease.awaitsReplacement = false
    lease.endWriteTurn?.()
    lease.stopWatching?.()
    if (this.#out.size === 0) this.#onAllReturned?.()
  }

  /**
   * Takes back by force what is out: cancelled, if that can be done in time, and cut off in any case. `why` makes the
   * errors of their users; `cut` is told of each.
   */
  async cutOff(
    waitMillis: number,
    makeError: StatementErrorFactory,
    onCutOff: (lease: Lease) => void,
  ): Promise<void> {
    // A server notices that a connection is gone when it has something to say to it: a long statement is cancelled.
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

  /** When the database last answered one of those that are out. */
  get heardAt(): number {
    return Math.max(...this.#all().map(({ answeredAt }) => answeredAt ?? -Infinity))
  }

  /** Longest first. */
  holders(): readonly Holder[] {
    const now = performance.now()
    return this.#all()
      .filter(({ awaitsReplacement }) => !awaitsReplacement)
      .map((lease) => lease.describe(now))
      .toSorted((a, b) => b.heldMillis - a.heldMillis)
  }

  /** Resolves when nothing is out any more. */
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
