/** Waiting, but not for ever. */
import { callAtDeadline } from './deadline-timer'

/** Waits for work to settle, but no longer than that. An error of the work is thrown if it comes in time. */
export async function within(millis: number, work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, millis)
  })
  try {
    await Promise.race([late, work])
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
export function startWatchdog(millis: number, act: () => void): () => void {
  let isDone = false
  const forget = callAtDeadline(performance.now() + millis, () => {
    setImmediate(() => {
      if (!isDone) act()
    })
  })
  return () => {
    isDone = true
    forget()
  }
}
