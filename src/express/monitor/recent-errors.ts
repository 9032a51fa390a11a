/** The recent errors, with equal ones counted together, and the recent connection leaks. */
import { type DatabaseError, type LeakEvent, fingerprintOf, redactedMessage } from '../../database'

export interface ErrorReport {
  readonly code: string
  readonly message: string
  /** The fingerprint of the statement, or null if there was none. */
  readonly statement: string | null
  readonly label: string | null
  readonly count: number
  /** The time of the last one, in ISO 8601. */
  readonly at: string
}

export interface LeakReport {
  readonly state: LeakEvent['state']
  readonly label: string | null
  readonly site: string | null
  /** The fingerprint of the statement that ran when the leak was reported, or null. */
  readonly statement: string | null
  readonly heldMillis: number
  readonly inTransaction: boolean
  readonly at: string
}

const MAX_KEPT = 20

export class RecentErrors {
  /** In the order of their latest occurrence. */
  readonly #byKind = new Map<string, ErrorReport>()

  add(error: DatabaseError, label: string | null, sql: string | null): void {
    const statement = sql === null ? null : fingerprintOf(sql)
    const message = redactedMessage(error)
    const kind = JSON.stringify([error.code, label, statement ?? message])
    const count = (this.#byKind.get(kind)?.count ?? 0) + 1
    this.#byKind.delete(kind)
    this.#byKind.set(kind, {
      code: error.code,
      message,
      statement,
      label,
      count,
      at: new Date().toISOString(),
    })
    const [oldest] = this.#byKind.keys()
    if (this.#byKind.size > MAX_KEPT && oldest !== undefined) this.#byKind.delete(oldest)
  }

  /** Returns the errors, the latest first. */
  latest(): ErrorReport[] {
    return [...this.#byKind.values()].toReversed()
  }
}

/** Two events of one leak, `held` and the end of it, compute start times that differ by less than this. */
const START_TOLERANCE_MILLIS = 100

export class RecentLeaks {
  #latest: (LeakReport & { readonly since: number })[] = []

  add(event: LeakEvent): void {
    const { state, label, site, heldMillis, inTransaction, sql } = event
    const since = performance.now() - heldMillis
    const isSame = (one: { since: number; label: string | null }): boolean =>
      one.label === label && Math.abs(one.since - since) < START_TOLERANCE_MILLIS
    const before = this.#latest.find((one) => one.state === 'held' && isSame(one))
    const statement = sql === null ? (before?.statement ?? null) : fingerprintOf(sql)
    const at = new Date().toISOString()
    const leak = { state, label, site, statement, heldMillis, inTransaction, at, since }
    this.#latest = [leak, ...this.#latest.filter((one) => one !== before)].slice(0, MAX_KEPT)
  }

  /** The number of connections that have not been returned yet. */
  get outstanding(): number {
    return this.#latest.filter(({ state }) => state === 'held').length
  }

  /** Returns the leaks, the latest first, with the present heldMillis of connections that have not been returned yet. */
  latest(): LeakReport[] {
    return this.#latest.map(({ since, ...leak }) =>
      leak.state === 'held' ? { ...leak, heldMillis: performance.now() - since } : leak,
    )
  }
}
