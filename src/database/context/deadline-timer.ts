/** Calls back when a deadline is past: one timer for all of them, since nearly every deadline is forgotten long before. */
import { type Entry, LinkedList } from './linked-list'
import { outsideOfScopes } from './scope'

/** Node fires timers above this at once, instead of late. */
export const LONGEST_TIMER_MILLIS = 2 ** 31 - 1

interface Deadline {
  readonly deadline: number
  readonly onDeadline: () => void
}

const deadlines = new LinkedList<Deadline>()
let timer: NodeJS.Timeout | undefined
/** When the timer fires. It may be for a deadline that is forgotten by now; then it is set anew. */
let firesAt = Infinity

/**
 * Calls `act` once `deadline` is past, on the clock of performance.now(), and keeps the process alive for that.
 * It is called outside of its caller's async context.
 *
 * @returns how to forget about it
 */
export function callAtDeadline(deadline: number, onDeadline: () => void): () => void {
  const entry = deadlines.add({ deadline, onDeadline })
  if (deadline < firesAt) schedule(deadline)
  else if (deadlines.size === 1) timer?.ref()
  return () => {
    // A timer that is set and has nobody to wait for is left to fire: most often somebody comes before it does.
    if (deadlines.remove(entry) && deadlines.size === 0) timer?.unref()
  }
}

function schedule(deadline: number): void {
  clearTimeout(timer)
  firesAt = deadline
  const millis = Math.min(Math.max(0, Math.ceil(deadline - performance.now())), LONGEST_TIMER_MILLIS)
  // Outside of the scope of whoever happens to be the first: it is called back for others as well.
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
    // What one does may have made another be forgotten.
    if (deadlines.remove(entry)) entry.value.onDeadline()
  }
}
