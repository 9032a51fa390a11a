/** Runs something again that the database chose to fail. */
import { databaseErrorOf, SerializationError } from '../errors'

const FIRST_BACKOFF_MILLIS = 10
const LONGEST_BACKOFF_MILLIS = 1000

/** Runs `attempt` until it resolves, or fails otherwise than by a serialization failure, or has been tried enough. */
export async function withRetries<T>(retries: number, attempt: () => Promise<T>): Promise<T> {
  for (let failures = 1; ; failures += 1) {
    try {
      return await attempt()
    } catch (error) {
      if (!(databaseErrorOf(error) instanceof SerializationError) || failures > retries) throw error
      await backOff(failures)
    }
  }
}

/** Jittered, so that two transactions that met once do not meet again in step. */
function backOff(failures: number): Promise<void> {
  const longest = Math.min(FIRST_BACKOFF_MILLIS * 2 ** (failures - 1), LONGEST_BACKOFF_MILLIS)
  return new Promise((resolve) => setTimeout(resolve, longest * Math.random()))
}
