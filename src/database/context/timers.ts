/** Deadlines, watchdogs and bounded waiting. One timer serves all deadlines, since nearly every one is cancelled before. */
import { type Entry, LinkedList } from './linked-list'
import { outsideOfScopes } from './scope'

/** Node fires a timer that is longer than this at once. */
export const LONGEST_TIMER_MILLIS = 2 ** 31 - 1

interface Deadline {
  readonly deadline: number
  readonly onDeadline: () => void
}

const deadlines = new LinkedList<Deadline>()
let timer: NodeJS.Timeout | undefined
/** When the timer fires. If that deadline was cancelled, the timer is set again for the next one. */
let firesAt = Infinity

/**
 * Calls `onDeadline` once `deadline` has passed, on the clock of performance.now(), and keeps the process alive for that.
 * The call is made outside of the caller's async context.
 *
 * @returns a function that cancels the call
 */
export function callAtDeadline(deadline: number, onDeadline: () => void): () => void {
  const entry = deadlines.add({ deadline, onDeadline })
  if (deadline < firesAt) schedule(deadline)
  else if (deadlines.size === 1) timer?.ref()
  return () => {
    // The timer is not cleared when no deadline is left: most often another one is added before it fires.
    if (deadlines.remove(entry) && deadlines.size === 0) timer?.unref()
  }
}

function schedule(deadline: number): void {
  clearTimeout(timer)
  firesAt = deadline
  const millis = Math.min(Math.max(0, Math.ceil(deadline - performance.now())), LONGEST_TIMER_MILLIS)
  // Outside of the caller's scope, since the timer serves other callers too.
  timer = outsideOfScopes(() => setTimeout(fire, millis))
}

function fire(): void {
  timer = undefined
  firesAt = Infinity
  const now = performance.now()
  const past: Entry<Deadline>[] = []
  let next = Infinity
  for (const entry of deadlines.all()) {
    const { deadline } = entry.value
    if (deadline <= now) past.push(entry)
    else if (deadline < next) next = deadline
  }
  if (next !== Infinity) schedule(next)
  for (const entry of past) {
    // An earlier callback may have cancelled this one.
    if (deadlines.remove(entry)) entry.value.onDeadline()
  }
}

/** Waits for work to settle, at most `millis`. Throws the error of the work if it fails in time. */
export async function waitAtMost(millis: number, work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const timeout = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, millis)
  })
  try {
    await Promise.race([timeout, work])
  } finally {
    clearTimeout(timer)
  }
}

/**
 * Starts a watchdog: calls `onTimeout` after `millis`, unless stopped. Input that has arrived is read first: after a long
 * pause of the process Node runs timers before it reads input.
 *
 * @returns a function that stops it
 */
export function startWatchdog(millis: number, onTimeout: () => void): () => void {
  let isStopped = false
  const cancelTimer = callAtDeadline(performance.now() + millis, () => {
    setImmediate(() => {
      if (!isStopped) onTimeout()
    })
  })
  return () => {
    isStopped = true
    cancelTimer()
  }
}
