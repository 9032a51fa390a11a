/** Waiting, but not for ever. */

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
