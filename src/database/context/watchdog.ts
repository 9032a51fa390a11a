/** Bounded waiting: waitAtMost() and a watchdog. */
import { callAtDeadline } from './deadline-timer'

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
