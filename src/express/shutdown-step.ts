/** The steps of a shutdown: each ends one started part by a time limit, and reports what went wrong. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Database } from '../database'

/** How long a part that exceeds the shutdown's time limit may take to be cancelled and destroyed. */
const DESTROY_MILLIS = 1000

/** A database's grace ends this much after the limit, so that its holders can still be listed at the limit. */
const GRACE_MARGIN_MILLIS = 100

/** A part of the application that was started, and has to be ended. */
export interface ShutdownStep {
  readonly name: string
  readonly end: (millisLeft: number) => Promise<void>
  /** Describes what keeps it from ending. */
  readonly holders?: () => string[]
}

export function disconnectStep(database: Database): ShutdownStep {
  return {
    name: `database ${database.name}`,
    end: (millisLeft) => database.disconnect({ graceMillis: millisLeft + GRACE_MARGIN_MILLIS }),
    holders: () =>
      database
        .holders()
        .map(({ label, heldMillis }) => `${label ?? 'no label'} for ${(heldMillis / 1000).toFixed(1)} s`),
  }
}

/** Ends one part by the limit, or soon after it, and returns what went wrong. */
export async function runStep(step: ShutdownStep, limit: number): Promise<string[]> {
  const millisLeft = Math.max(limit - performance.now(), 0)
  const complaints: string[] = []
  const ended = step.end(millisLeft).catch((error: unknown) => {
    complaints.push(`${step.name}: ${messageOf(error)}`)
  })
  if (await settlesWithin(ended, millisLeft)) return complaints
  const holders = step.holders?.() ?? []
  const isEnded = await settlesWithin(ended, DESTROY_MILLIS)
  if (holders.length > 0) complaints.push(`${step.name} was held by ${holders.join(', ')}`)
  else if (!isEnded || millisLeft > 0) complaints.push(`${step.name} did not end in time`)
  return complaints
}

/** Resolves to whether `work` settles within `millis`. */
export async function settlesWithin(work: Promise<void>, millis: number): Promise<boolean> {
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
