/** Waiting, but not for ever. */
import { callAtDeadline } from './deadline-timer'

/** Waits for work to settle, but no longer than that. An error of the work is thrown if it comes in time. */
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
 * Acts unless told in time that it is done. What has arrived meanwhile gets its chance first: after a long pause of the
 * program Node runs timers before it reads what came in.
 *
 * @returns how to tell it
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
