/** Judges whether a pool is healthy, and if not, who causes it, since when, and what to do. */
import type { Holder, PoolStats } from '../../database'
import { holderReport, type HolderReport, isIdle, isSlow } from './holder-report'
import type { Percentiles } from './latency-window'

export interface PoolHealth {
  readonly level: 'healthy' | 'warning' | 'critical' | 'offline'
  /** What is wrong, or that nothing is. */
  readonly summary: string
  /** Since when, in ISO 8601, where it is known. */
  readonly since: string | null
  /** Who causes it: at most three labels, those that hold most connections first. */
  readonly suspects: readonly Suspect[]
  /** What to do, or null if there is nothing to do. */
  readonly advice: string | null
}

/** The holders of one label. */
export interface Suspect {
  /** How many connections they hold, for how long, and what they do. */
  readonly summary: string
  /** The one that has held its connection longest. */
  readonly holder: HolderReport
}

/** The figures that a judgement is based on. All moments are milliseconds since 1970. */
export interface PoolSnapshot {
  readonly at: number
  readonly isConnected: boolean
  readonly stats: PoolStats
  /** Longest first. */
  readonly holders: readonly Holder[]
  readonly wait: Percentiles
  /** The first of the latest samples that all had waiting callers, or null. */
  readonly waitingSince: number | null
  /** True if callers also waited when the last two samples were taken. */
  readonly hasWaited: boolean
  /** The acquire timeouts of the last minute. */
  readonly timeouts: { readonly count: number; readonly since: number | null }
  /** The connections that are reported as leaks and have not come back. */
  readonly leaks: readonly Pick<Holder, 'label' | 'site'>[]
  /** The failures to open a connection, the last within the last minute; null after a success. */
  readonly unreachable: { readonly message: string; readonly since: number } | null
}

interface Judgement {
  readonly level: PoolHealth['level']
  readonly summary: string
  /** Without it: since the first of those who are blamed took its connection. */
  readonly since?: number | null
  readonly blamed?: readonly Holder[]
  /** Without it: what follows from what those do who are blamed. */
  readonly advice?: string
}

const LONG_WAIT_MILLIS = 100
/** With fewer waits the 95th percentile can be a few single waits, such as the first, which opens a connection. */
const MIN_WAITS = 100
const MAX_SUSPECTS = 3

export function judgeHealth(snapshot: PoolSnapshot): PoolHealth {
  const { at, holders } = snapshot
  const { blamed = [], level, summary, ...judgement } = judge(snapshot)
  const groups = byLabel(blamed)
  const advice = judgement.advice ?? groups.map(([longest]) => adviceFor(longest)).join(' ')
  const longestMillis = Math.max(...blamed.map(({ heldMillis }) => heldMillis))
  const since = judgement.since ?? (blamed.length > 0 ? at - longestMillis : null)
  return {
    level,
    summary,
    since: since === null ? null : new Date(since).toISOString(),
    suspects: groups.map((group) => ({
      summary: describeShare(group, holders.length),
      holder: holderReport(group[0]),
    })),
    advice: advice || null,
  }
}

const TOO_SMALL =
  'Those who hold connections are quick: the pool is too small for the load, or the load too high.'

/** Returns the first judgement that applies, from the worst to the best. */
function judge(snapshot: PoolSnapshot): Judgement {
  const { hasWaited, holders, isConnected, leaks, stats, timeouts, unreachable, wait, waitingSince } =
    snapshot
  const maxConnections = stats.size + stats.maxOverflow
  const waiting = `${stats.waiting} ${stats.waiting === 1 ? 'waits' : 'wait'}`
  const blamed = holders.filter((one) => isIdle(one) || isSlow(one))
  const suspects = blamed.length > 0 ? { blamed } : { advice: TOO_SMALL }
  // A queue that is gone a moment later is normal for a pool.
  const isStuck = stats.waiting > 0 && (hasWaited || blamed.length > 0)
  if (!isConnected) {
    return { level: 'offline', summary: 'Not connected: connect() has not ended yet, or disconnect() has.' }
  }
  if (unreachable !== null) {
    return {
      level: 'critical',
      summary: `The database cannot be reached. ${unreachable.message}`,
      since: unreachable.since,
      advice: 'The pool tries again by itself. The database or the way to it is at fault, not the pool.',
    }
  }
  if (isStuck && stats.used >= maxConnections) {
    return {
      level: 'critical',
      summary: `The pool is full: ${maxConnections === 1 ? 'its only connection is' : `all ${maxConnections} connections are`} in use and ${waiting}.`,
      since: waitingSince,
      ...suspects,
    }
  }
  if (timeouts.count > 0) {
    const advice = 'Nobody holds a connection for long any more. The errors below tell who did.'
    return {
      level: 'critical',
      summary: `${timeouts.count} waited in vain in the last minute.`,
      since: timeouts.since,
      ...(blamed.length === 0 && stats.waiting === 0 ? { advice } : suspects),
    }
  }
  if (leaks.length > 0) {
    const what = leaks.length === 1 ? 'A connection does' : `${leaks.length} connections do`
    return {
      level: 'warning',
      summary: `${what} not come back.`,
      blamed: holders.filter((one) =>
        leaks.some(({ label, site }) => one.label === label && one.site === site),
      ),
      advice: 'Release it in a finally block, or take it by connection(work) or await using.',
    }
  }
  if (isStuck) {
    return {
      level: 'warning',
      summary: `${waiting} for a connection, or for the turn to write.`,
      since: waitingSince,
      ...suspects,
    }
  }
  if (holders.some(isIdle)) {
    return {
      level: 'warning',
      summary: 'A connection is held and not used.',
      blamed: holders.filter(isIdle),
    }
  }
  if (wait.count >= MIN_WAITS && wait.p95Millis > LONG_WAIT_MILLIS) {
    return {
      level: 'warning',
      summary: `One in twenty waits ${Math.round(wait.p95Millis)} ms or more for a connection.`,
      ...suspects,
    }
  }
  return {
    level: 'healthy',
    summary: `${stats.waiting === 0 ? 'Nobody waits' : `${waiting} for a moment`}: ${stats.used} of ${maxConnections} connections are in use.`,
  }
}

type Group = readonly [longest: Holder, ...others: Holder[]]

/** Groups the holders, which are in the order of their time, by their label. Returns the largest groups first. */
function byLabel(holders: readonly Holder[]): readonly Group[] {
  const groups = new Map<string | null, [Holder, ...Holder[]]>()
  for (const holder of holders) {
    const group = groups.get(holder.label)
    if (group === undefined) groups.set(holder.label, [holder])
    else group.push(holder)
  }
  return [...groups.values()].toSorted((a, b) => b.length - a.length).slice(0, MAX_SUSPECTS)
}

function nameOf({ label }: Holder): string {
  return label ?? 'somebody without a label'
}

function describeShare([longest, ...others]: Group, inUse: number): string {
  const { heldMillis, inTransaction, sql } = longest
  const seconds = (heldMillis / 1000).toFixed(heldMillis < 10_000 ? 1 : 0)
  const time = others.length === 0 ? `for ${seconds} s` : `for up to ${seconds} s`
  const does = `${sql === null ? 'runs nothing' : 'runs a statement'}${inTransaction ? ' in an open transaction' : ''}`
  return `${nameOf(longest)} holds ${others.length + 1} of the ${inUse} in use, ${time}, and ${does}.`
}

function adviceFor(holder: Holder): string {
  const name = nameOf(holder)
  if (!isIdle(holder)) return `Look at the plans and the number of the statements of ${name}.`
  return holder.inTransaction
    ? `Move what ${name} does meanwhile out of the transaction.`
    : `Have ${name} release the connection sooner.`
}
