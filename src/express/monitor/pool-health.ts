/** Judges whether a pool is healthy, and if not, which holders cause it. */
import type { Holder, PoolStats } from '../../database'
import type { Percentiles } from './latency-window'

export interface PoolHealth {
  readonly level: 'healthy' | 'warning' | 'critical' | 'offline'
  /** The state in one sentence. */
  readonly summary: string
  /** Who causes the problem and what to do, or null if there is nothing to do. */
  readonly advice: string | null
}

/** The figures that a judgement is based on. */
export interface PoolSnapshot {
  readonly isConnected: boolean
  readonly stats: PoolStats
  /** Longest first. */
  readonly holders: readonly Holder[]
  readonly wait: Percentiles
  /** True if callers also waited when the last samples were taken. */
  readonly hasWaited: boolean
  /** The acquire timeouts of the last minute. */
  readonly timeouts: number
  readonly leaks: number
  /** The code of the last failure to open a connection within the last minute; null after a success. */
  readonly unreachable: string | null
}

/** A connection that has been held for so long and runs nothing counts as idle, not as between two statements. */
const IDLE_MILLIS = 1000
const SLOW_MILLIS = 1000
const LONG_WAIT_MILLIS = 100
/** With fewer waits the 95th percentile can be a few single waits, such as the first, which opens a connection. */
const MIN_WAITS = 100

/** Returns the first judgement that applies, from the worst to the best. */
export function judgeHealth(snapshot: PoolSnapshot): PoolHealth {
  const { hasWaited, holders, isConnected, leaks, stats, timeouts, unreachable, wait } = snapshot
  const maxConnections = stats.size + stats.maxOverflow
  const waiting = `${stats.waiting} ${stats.waiting === 1 ? 'waits' : 'wait'}`
  const advice = adviceFor(holders)
  // A queue that is gone a moment later is normal for a pool.
  const isStuck = stats.waiting > 0 && (hasWaited || holders.some((one) => isIdle(one) || isSlow(one)))
  if (!isConnected) {
    return { level: 'offline', summary: 'Not connected.', advice: null }
  }
  if (unreachable !== null) {
    return {
      level: 'critical',
      summary: `No connection can be opened: ${unreachable}.`,
      advice:
        'The pool tries again by itself. See the errors below; the database or the network is at fault.',
    }
  }
  if (isStuck && stats.used >= maxConnections) {
    return {
      level: 'critical',
      summary: `The pool is exhausted: all ${maxConnections} connections are in use and ${waiting}.`,
      advice,
    }
  }
  if (timeouts > 0) {
    return { level: 'critical', summary: `${timeouts} waited in vain in the last minute.`, advice }
  }
  if (leaks > 0) {
    const what = leaks === 1 ? 'A connection does' : `${leaks} connections do`
    return { level: 'warning', summary: `${what} not come back.`, advice }
  }
  if (isStuck) {
    return { level: 'warning', summary: `${waiting} for a connection, or for the turn to write.`, advice }
  }
  if (holders.some(isIdle)) {
    return { level: 'warning', summary: 'A connection is held and not used.', advice }
  }
  if (wait.count >= MIN_WAITS && wait.p95Millis > LONG_WAIT_MILLIS) {
    return {
      level: 'warning',
      summary: `One in twenty waits ${Math.round(wait.p95Millis)} ms or more for a connection.`,
      advice,
    }
  }
  return {
    level: 'healthy',
    summary: `${stats.waiting === 0 ? 'Nobody waits' : `${waiting} for a moment`}: ${stats.used} of ${maxConnections} connections are in use.`,
    advice: null,
  }
}

export function isIdle(holder: Holder): boolean {
  return holder.sql === null && holder.heldMillis >= IDLE_MILLIS
}

export function isSlow(holder: Holder): boolean {
  return holder.sql !== null && holder.heldMillis >= SLOW_MILLIS
}

function adviceFor(holders: readonly Holder[]): string {
  const idle = holders.filter(isIdle)
  const slow = holders.filter(isSlow)
  if (idle.length > 0 && idle.length >= slow.length) {
    const isTransaction = idle[0]?.inTransaction === true
    const where = isTransaction ? ' in an open transaction' : ''
    const advice = isTransaction
      ? 'Move what it does meanwhile out of the transaction.'
      : 'Release it sooner.'
    return `${describeShare(idle, holders)}, and runs nothing${where}. ${advice}`
  }
  if (slow.length > 0)
    return `${describeShare(slow, holders)}, and runs statements: slow ones, or many. Look at their plans and their number.`
  return 'Those who hold connections are quick: the pool is too small for the load, or the load too high.'
}

/** Describes which label among `blamed` holds most connections, how many and for how long. */
function describeShare(blamed: readonly Holder[], holders: readonly Holder[]): string {
  const byLabel = grouped(blamed)
  const [[label, held] = ['', []]] = [...byLabel].toSorted(([, a], [, b]) => b.length - a.length)
  const longest = Math.max(...held.map(({ heldMillis }) => heldMillis))
  const seconds = (longest / 1000).toFixed(longest < 10_000 ? 1 : 0)
  const since = held.length === 1 ? `for ${seconds} s` : `for up to ${seconds} s`
  return `${label} holds ${held.length} of the ${holders.length} in use, ${since}`
}

function labelOf({ label }: Holder): string {
  return label ?? 'Somebody without a label'
}

function grouped(holders: readonly Holder[]): Map<string, Holder[]> {
  const groups = new Map<string, Holder[]>()
  for (const holder of holders) {
    const label = labelOf(holder)
    groups.set(label, [...(groups.get(label) ?? []), holder])
  }
  return groups
}
