/** The statements that took most of the database's time, by fingerprint, in bounded memory. */
import { fingerprintOf } from '../../database'

export interface StatementReport {
  readonly fingerprint: string
  /** The label of the scope of its last call. */
  readonly label: string | null
  readonly calls: number
  readonly errors: number
  readonly meanMillis: number
  readonly maxMillis: number
  readonly totalMillis: number
}

interface StatementTally {
  label: string | null
  calls: number
  errors: number
  maxMillis: number
  totalMillis: number
}

const MAX_KEPT = 200
const MAX_REPORTED = 20

export class SlowStatements {
  readonly #tallies = new Map<string, StatementTally>()

  add(sql: string, label: string | null, millis: number, isError: boolean): void {
    const tally = this.#tallyOf(fingerprintOf(sql))
    tally.label = label
    tally.calls += 1
    if (isError) tally.errors += 1
    tally.totalMillis += millis
    if (millis > tally.maxMillis) tally.maxMillis = millis
  }

  /** Returns the statements with the most total time, then those with the slowest call. */
  slowest(): StatementReport[] {
    const all = [...this.#tallies].map(([fingerprint, tally]) => ({ fingerprint, ...tally }))
    const byTotal = all.toSorted((a, b) => b.totalMillis - a.totalMillis)
    const bySlowest = all.toSorted((a, b) => b.maxMillis - a.maxMillis)
    const reported = new Set([...byTotal.slice(0, MAX_REPORTED), ...bySlowest.slice(0, MAX_REPORTED / 2)])
    return [...reported].map((one) => ({ ...one, meanMillis: one.totalMillis / one.calls }))
  }

  #tallyOf(fingerprint: string): StatementTally {
    const known = this.#tallies.get(fingerprint)
    if (known !== undefined) return known
    if (this.#tallies.size >= MAX_KEPT) this.#evictCheapest()
    const tally = { label: null, calls: 0, errors: 0, maxMillis: 0, totalMillis: 0 }
    this.#tallies.set(fingerprint, tally)
    return tally
  }

  /** Evicts the statement with the least total time, not the oldest: many statements that run once must not evict slow ones. */
  #evictCheapest(): void {
    let cheapest: string | undefined
    let least = Infinity
    for (const [fingerprint, { totalMillis }] of this.#tallies) {
      if (totalMillis >= least) continue
      least = totalMillis
      cheapest = fingerprint
    }
    if (cheapest !== undefined) this.#tallies.delete(cheapest)
  }
}
