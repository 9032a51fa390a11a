/** Whether a pool is well, and if not, who is to blame. */
import type { Holder, PoolStats } from '../../database'
import type { Percentiles } from './latency-window'

export interface Verdict {
  readonly level: 'healthy' | 'warning' | 'critical' | 'offline'
  /** What is the matter, in one sentence. */
  readonly summary: string
  /** Who causes it and what to do, or null when there is nothing to be done. */
  readonly advice: string | null
}

export interface Findings {
  readonly isConnected: boolean
  readonly stats: PoolStats
  /** Longest first. */
  readonly holders: readonly Holder[]
  readonly wait: Percentiles
  /** Whether somebody waited when the last samples were taken as well. */
  readonly hasWaited: boolean
  /** Of the last minute. */
  readonly timeouts: number
  readonly leaks: number
  /** The code of what kept a connection from being opened in the last minute; null once one could be. */
  readonly unreachable: string | null
}

/** A connection that nothing runs on for so long is not merely between two statements. */
const IDLE_MILLIS = 1000
const SLOW_MILLIS = 1000
const LONG_WAIT_MILLIS = 100
/** One in twenty of fewer is a single one, such as the first, for which a connection is opened. */
const LEAST_WAITS = 100

/** The first that applies, the worst first. */
export function judge(findings: Findings): Verdict {
  const { hasWaited, holders, isConnected, leaks, stats, timeouts, unreachable, wait } = findings
  const most = stats.size + stats.maxOverflow
  const waiting = `${stats.waiting} ${stats.waiting === 1 ? 'waits' : 'wait'}`
  const advice = blame(holders)
  // A queue that is gone a moment later is what a pool is for.
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
  if (isStuck && stats.used >= most) {
    return {
      level: 'critical',
      summary: `The pool is exhausted: all ${most} connections are in use and ${waiting}.`,
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
  if (wait.count >= LEAST_WAITS && wait.p95Millis > LONG_WAIT_MILLIS) {
    return {
      level: 'warning',
      summary: `One in twenty waits ${Math.round(wait.p95Millis)} ms or more for a connection.`,
      advice,
    }
  }
  return {
    level: 'healthy',
    summary: `${stats.waiting === 0 ? 'Nobody waits' : `${waiting} for a moment`}: ${stats.used} of ${most} connections are in use.`,
    advice: null,
  }
}

export function isIdle(holder: Holder): boolean {
  return holder.sql === null && holder.heldMillis >= IDLE_MILLIS
}

export function isSlow(holder: Holder): boolean {
  return holder.sql !== null && holder.heldMillis >= SLOW_MILLIS
}

function blame(holders: readonly Holder[]): string {
  const idle = holders.filter(isIdle)
  const slow = holders.filter(isSlow)
  if (idle.length > 0 && idle.length >= slow.length) {
    const isTransaction = idle[0]?.inTransaction === true
    const where = isTransaction ? ' in an open transaction' : ''
    const advice = isTransaction
      ? 'Move what it does meanwhile out of the transaction.'
      : 'Release it sooner.'
    return `${share(idle, holders)}, and runs nothing${where}. ${advice}`
  }
  if (slow.length > 0)
    return `${share(slow, holders)}, and runs statements: slow ones, or many. Look at their plans and their number.`
  return 'Those who hold connections are quick: the pool is too small for the load, or the load too high.'
}

/** Who of them holds most, and how much that is. */
function share(blamed: readonly Holder[], holders: readonly Holder[]): string {
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
