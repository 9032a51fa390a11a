/** Calls back when a deadline is past: one timer for all of them, since nearly every deadline is forgotten long before. */
import { type Entry, LinkedList } from './linked-list'
import { outsideOfScopes } from './scope'

/** Node fires timers above this at once, instead of late. */
export const LONGEST_TIMER_MILLIS = 2 ** 31 - 1

interface Watch {
  readonly deadline: number
  readonly act: () => void
}

const watches = new LinkedList<Watch>()
let timer: NodeJS.Timeout | undefined
/** When the timer fires. It may be for a deadline that is forgotten by now; then it is set anew. */
let due = Infinity

/**
 * Calls `act` once `deadline` is past, on the clock of performance.now(), and keeps the process alive for that.
 * It is called outside of its caller's async context.
 *
 * @returns how to forget about it
 */
export function callAtDeadline(deadline: number, act: () => void): () => void {
  const place = watches.add({ deadline, act })
  if (deadline < due) schedule(deadline)
  else if (watches.size === 1) timer?.ref()
  return () => {
    // A timer that is set and has nobody to wait for is left to fire: most often somebody comes before it does.
    if (watches.remove(place) && watches.size === 0) timer?.unref()
  }
}

function schedule(deadline: number): void {
  clearTimeout(timer)
  due = deadline
  const millis = Math.min(Math.max(0, Math.ceil(deadline - performance.now())), LONGEST_TIMER_MILLIS)
  // Outside of the scope of whoever happens to be the first: it is called back for others as well.
  timer = outsideOfScopes(() => setTimeout(fire, millis))
}

function fire(): void {
  timer = undefined
  due = Infinity
  const now = performance.now()
  const past: Entry<Watch>[] = []
  let next = Infinity
  for (const entry of watches.all()) {
    const { deadline } = entry.value
    if (deadline <= now) past.push(entry)
    else if (deadline < next) next = deadline
  }
  if (next !== Infinity) schedule(next)
  for (const entry of past) {
    // What one does may have made another be forgotten.
    if (watches.remove(entry)) entry.value.act()
  }
}
