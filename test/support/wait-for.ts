/** Waits for a condition by asking again and again: what tests do instead of sleeping. */
import { setTimeout as delay } from 'node:timers/promises'

const POLL_MILLIS = 5

/**
 * Resolves with the first value of `condition` that is neither false, null nor undefined.
 *
 * @param options.pollMillis how long it rests between two questions, where asking costs much
 * @throws Error when there is none within `timeoutMillis` (default 5 s); if `condition` threw last, that is the cause.
 * @example await waitFor(() => database.stats().waiting === 3)
 */
export async function waitFor<T>(
  condition: () => T | Promise<T>,
  options: { timeoutMillis?: number; pollMillis?: number; what?: string } = {},
): Promise<NonNullable<Exclude<T, false>>> {
  const { timeoutMillis = 5_000, pollMillis = POLL_MILLIS, what = 'the condition' } = options
  const deadline = performance.now() + timeoutMillis
  let failure: unknown
  for (;;) {
    try {
      const value = await condition()
      if (value !== false && value !== null && value !== undefined) {
        return value as NonNullable<Exclude<T, false>>
      }
      failure = undefined
    } catch (error) {
      failure = error
    }
    if (performance.now() >= deadline) {
      throw new Error(`Waited ${timeoutMillis} ms in vain for ${what}`, { cause: failure })
    }
    await delay(pollMillis)
  }
}
