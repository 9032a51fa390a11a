/** Runs work again after a serialization failure or a deadlock. */
import { databaseErrorOf, SerializationError } from '../errors'

const MIN_BACKOFF_MILLIS = 10
const MAX_BACKOFF_MILLIS = 1000

/** Calls `run` again after each `SerializationError`, at most `retries` times, with a pause in between. */
export async function withRetries<T>(retries: number, run: () => Promise<T>): Promise<T> {
  for (let failures = 1; ; failures += 1) {
    try {
      return await run()
    } catch (error) {
      if (!(databaseErrorOf(error) instanceof SerializationError) || failures > retries) throw error
      await backOff(failures)
    }
  }
}

/** Waits for a random time, so that two transactions that collided do not collide again in step. */
function backOff(failures: number): Promise<void> {
  const maxMillis = Math.min(MIN_BACKOFF_MILLIS * 2 ** (failures - 1), MAX_BACKOFF_MILLIS)
  return new Promise((resolve) => setTimeout(resolve, maxMillis * Math.random()))
}
