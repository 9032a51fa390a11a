/** The statements that took the database's time, by fingerprint, in bounded memory. */
import { fingerprintOf } from './fingerprint'

export interface StatementReport {
  readonly fingerprint: string
  /** The scope's label of its last call. */
  readonly label: string | null
  readonly calls: number
  readonly errors: number
  readonly meanMillis: number
  readonly maxMillis: number
  readonly totalMillis: number
}

interface Tally {
  label: string | null
  calls: number
  errors: number
  maxMillis: number
  totalMillis: number
}

const MOST_KEPT = 200
const MOST_TOLD = 20

export class Statements {
  readonly #tallies = new Map<string, Tally>()

  add(sql: string, label: string | null, millis: number, isError: boolean): void {
    const tally = this.#tallyOf(fingerprintOf(sql))
    tally.label = label
    tally.calls += 1
    if (isError) tally.errors += 1
    tally.totalMillis += millis
    if (millis > tally.maxMillis) tally.maxMillis = millis
  }

  /** Those with the most time in all, and those with the slowest call; the former come first. */
  slowest(): StatementReport[] {
    const all = [...this.#tallies].map(([fingerprint, tally]) => ({ fingerprint, ...tally }))
    const byTotal = all.toSorted((a, b) => b.totalMillis - a.totalMillis)
    const bySlowest = all.toSorted((a, b) => b.maxMillis - a.maxMillis)
    const told = new Set([...byTotal.slice(0, MOST_TOLD), ...bySlowest.slice(0, MOST_TOLD / 2)])
    return [...told].map((one) => ({ ...one, meanMillis: one.totalMillis / one.calls }))
  }

  #tallyOf(fingerprint: string): Tally {
    const known = this.#tallies.get(fingerprint)
    if (known !== undefined) return known
    if (this.#tallies.size >= MOST_KEPT) this.#forgetCheapest()
    const tally = { label: null, calls: 0, errors: 0, maxMillis: 0, totalMillis: 0 }
    this.#tallies.set(fingerprint, tally)
    return tally
  }

  /** Not the oldest: a flood of statements that are run once must not wash out those that are slow. */
  #forgetCheapest(): void {
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
