/** What is told of a holder of a connection, and whether it is suspect. */
import { fingerprintOf, type Holder } from '../../database'

export interface HolderReport {
  readonly label: string | null
  readonly site: string | null
  readonly heldMillis: number
  /** The fingerprint of the running statement, or null between statements. */
  readonly statement: string | null
  readonly inTransaction: boolean
  /** Why the holder is worth a look: it has held long while running nothing, or while running statements. */
  readonly suspicion: 'idle' | 'slow' | null
}

/** A connection that has been held for so long and runs nothing counts as idle, not as between two statements. */
const IDLE_MILLIS = 1000
const SLOW_MILLIS = 1000

export function isIdle(holder: Holder): boolean {
  return holder.sql === null && holder.heldMillis >= IDLE_MILLIS
}

export function isSlow(holder: Holder): boolean {
  return holder.sql !== null && holder.heldMillis >= SLOW_MILLIS
}

export function holderReport(holder: Holder): HolderReport {
  const { heldMillis, inTransaction, label, site, sql } = holder
  const statement = sql === null ? null : fingerprintOf(sql)
  const suspicion = isIdle(holder) ? 'idle' : isSlow(holder) ? 'slow' : null
  return { label, site, heldMillis, statement, inTransaction, suspicion }
}
