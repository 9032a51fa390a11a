/** The recent errors, counted by code and place, and the recent connection leaks. */
import { type DatabaseError, fingerprintOf, type LeakEvent } from '../../database'
import { redactedMessage } from './redacted-message'

/** Errors of one code at one place: a label and a statement. */
export interface ErrorReport {
  readonly code: string
  readonly label: string | null
  /** The fingerprint of the statement, or null if there was none. */
  readonly statement: string | null
  readonly count: number
  /** The times of the first one and of the last one, in ISO 8601. */
  readonly firstAt: string
  readonly lastAt: string
  /** The whole message of the last one, without what may be a value. */
  readonly message: string
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
  readonly #byPlace = new Map<string, ErrorReport>()
  readonly #names: readonly string[]

  /** @param names what messages may quote: no value, but the name of the database and the like */
  constructor(names: readonly string[]) {
    this.#names = names
  }

  /** Counts the error by its code and place. Its message does not tell kinds apart: it may differ each time. */
  add(error: DatabaseError, label: string | null, sql: string | null): void {
    const { code } = error
    const statement = sql === null ? null : fingerprintOf(sql)
    const place = JSON.stringify([code, label, statement])
    const lastAt = new Date().toISOString()
    const { count, firstAt } = this.#byPlace.get(place) ?? { count: 0, firstAt: lastAt }
    const message = redactedMessage(error, sql, this.#names)
    this.#byPlace.delete(place)
    this.#byPlace.set(place, { code, label, statement, count: count + 1, firstAt, lastAt, message })
    const [oldest] = this.#byPlace.keys()
    if (this.#byPlace.size > MAX_KEPT && oldest !== undefined) this.#byPlace.delete(oldest)
  }

  /** Returns the errors, the latest first. */
  latest(): ErrorReport[] {
    return [...this.#byPlace.values()].toReversed()
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

  /** The leaks whose connections have not been returned yet. */
  get outstanding(): readonly LeakReport[] {
    return this.#latest.filter(({ state }) => state === 'held')
  }

  /** Returns the leaks, the latest first, with the present heldMillis of connections that have not been returned yet. */
  latest(): LeakReport[] {
    return this.#latest.map(({ since, ...leak }) =>
      leak.state === 'held' ? { ...leak, heldMillis: performance.now() - since } : leak,
    )
  }
}
