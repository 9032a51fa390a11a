/** What went wrong of late: errors, alike ones counted together, and connections that did not come back. */
import type { DatabaseError, LeakEvent } from '../../database'
import { fingerprintOf } from './fingerprint'

export interface ErrorReport {
  readonly code: string
  readonly message: string
  /** The fingerprint of the statement, or null where there was none. */
  readonly statement: string | null
  readonly label: string | null
  readonly count: number
  /** Of the last one, as text of ISO 8601. */
  readonly at: string
}

export interface LeakReport {
  readonly state: LeakEvent['state']
  readonly label: string | null
  readonly site: string | null
  /** The fingerprint of what ran when it was reported, or null. */
  readonly statement: string | null
  readonly heldMillis: number
  readonly inTransaction: boolean
  readonly at: string
}

const MOST_KEPT = 20
const MOST_MESSAGE = 300

export class Errors {
  /** The last to happen is last. */
  readonly #byKind = new Map<string, ErrorReport>()

  add(error: DatabaseError, label: string | null, sql: string | null): void {
    const statement = sql === null ? null : fingerprintOf(sql)
    const message = messageOf(error)
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
    if (this.#byKind.size > MOST_KEPT && oldest !== undefined) this.#byKind.delete(oldest)
  }

  /** The latest first. */
  latest(): ErrorReport[] {
    return [...this.#byKind.values()].toReversed()
  }
}

/** Without what it quotes, which may be a value, and without the holders' statements in the lines below the first. */
function messageOf({ message }: DatabaseError): string {
  // What a function of the database's own says by RAISE may be made of values, in any form.
  if (message.includes('(SQLSTATE P0001)')) return 'Raised by a function in the database. (SQLSTATE P0001)'
  const [first = ''] = message.split('\n')
  const hidden = first.replace(/"[^"]*"/g, '"…"').replace(/'[^']*'/g, "'…'")
  return hidden.length > MOST_MESSAGE ? `${hidden.slice(0, MOST_MESSAGE)}…` : hidden
}

/** The same connection tells twice of itself: when it is late, and when it is back. */
const SAME_START_MILLIS = 100

export class Leaks {
  #latest: (LeakReport & { readonly since: number })[] = []

  add(event: LeakEvent): void {
    const { state, label, site, heldMillis, inTransaction, sql } = event
    const since = performance.now() - heldMillis
    const isSame = (one: { since: number; label: string | null }): boolean =>
      one.label === label && Math.abs(one.since - since) < SAME_START_MILLIS
    const before = this.#latest.find((one) => one.state === 'held' && isSame(one))
    const statement = sql === null ? (before?.statement ?? null) : fingerprintOf(sql)
    const at = new Date().toISOString()
    const leak = { state, label, site, statement, heldMillis, inTransaction, at, since }
    this.#latest = [leak, ...this.#latest.filter((one) => one !== before)].slice(0, MOST_KEPT)
  }

  /** Those that are still out. */
  get outstanding(): number {
    return this.#latest.filter(({ state }) => state === 'held').length
  }

  /** The latest first. One that is still out is out for longer with every look. */
  latest(): LeakReport[] {
    return this.#latest.map(({ since, ...leak }) =>
      leak.state === 'held' ? { ...leak, heldMillis: performance.now() - since } : leak,
    )
  }
}
