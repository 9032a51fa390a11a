/** Ends what was begun: by a limit, or soon after it, and never in silence. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Database } from '../database'

/** How long what overstays the shutdown's time limit may still take to be cancelled and destroyed. */
const LAST_MOMENTS_MILLIS = 1000

/** A database gives up this much later than we do, so that we can still ask it who holds it. */
const GRACE_MARGIN_MILLIS = 100

export interface Begun {
  readonly name: string
  readonly end: (millisLeft: number) => Promise<void>
  /** What keeps it from ending. */
  readonly holders?: () => string[]
}

export function disconnectionOf(database: Database): Begun {
  return {
    name: `database ${database.name}`,
    end: (millisLeft) => database.disconnect({ graceMillis: millisLeft + GRACE_MARGIN_MILLIS }),
    holders: () =>
      database
        .holders()
        .map(({ label, heldMillis }) => `${label ?? 'no label'} for ${(heldMillis / 1000).toFixed(1)} s`),
  }
}

/** Ends one thing by the limit, or soon after it, and says what went wrong. */
export async function end(begun: Begun, limit: number): Promise<string[]> {
  const millisLeft = Math.max(limit - performance.now(), 0)
  const complaints: string[] = []
  const ended = begun.end(millisLeft).catch((error: unknown) => {
    complaints.push(`${begun.name}: ${messageOf(error)}`)
  })
  if (await settles(ended, millisLeft)) return complaints
  const holders = begun.holders?.() ?? []
  const isEnded = await settles(ended, LAST_MOMENTS_MILLIS)
  if (holders.length > 0) complaints.push(`${begun.name} was held by ${holders.join(', ')}`)
  else if (!isEnded || millisLeft > 0) complaints.push(`${begun.name} did not end in time`)
  return complaints
}

/** Whether work settles within a time. */
export async function settles(work: Promise<void>, millis: number): Promise<boolean> {
  const timer = new AbortController()
  const isLate = sleep(Math.max(millis, 0), true, { signal: timer.signal }).catch(() => true)
  try {
    return !(await Promise.race([work.then(() => false), isLate]))
  } finally {
    timer.abort()
  }
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
