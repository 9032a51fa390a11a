/** The load of one process: writers that count in a closed loop, and readers beside them. */
import { setTimeout as delay } from 'node:timers/promises'
import type { Counter } from './counter'

export interface Load {
  /** Begins the ids of its rows. */
  readonly name: string
  readonly writers: number
  readonly readers: number
  readonly millis: number
}

export interface LoadReport {
  /** The ids of the transactions that were acknowledged. */
  readonly ids: readonly string[]
  /** How long each of them took, from the call to its answer. */
  readonly millis: readonly number[]
  /** How long each of those took that failed, and what they said. */
  readonly failures: readonly { readonly millis: number; readonly message: string }[]
  readonly looks: number
  /** Looks that saw half of a transaction. */
  readonly torn: number
  readonly failedLooks: readonly string[]
}

/** So that readers are there all the time, but leave the cores to those who write. */
const PAUSE_MILLIS = 5

export async function runLoad(
  counter: Counter,
  { name, writers, readers, millis }: Load,
): Promise<LoadReport> {
  const end = performance.now() + millis
  const ids: string[] = []
  const took: number[] = []
  const failures: { millis: number; message: string }[] = []
  const failedLooks: string[] = []
  let looks = 0
  let torn = 0

  const write = async (writer: number): Promise<void> => {
    for (let number = 1; performance.now() < end; number += 1) {
      const id = `${name}-${writer}-${number}`
      const begun = performance.now()
      try {
        await counter.count(id)
        ids.push(id)
        took.push(performance.now() - begun)
      } catch (error) {
        failures.push({ millis: performance.now() - begun, message: String(error) })
      }
    }
  }
  const read = async (): Promise<void> => {
    while (performance.now() < end) {
      try {
        const { counted, entries } = await counter.look()
        looks += 1
        if (counted !== entries) torn += 1
      } catch (error) {
        failedLooks.push(String(error))
      }
      await delay(PAUSE_MILLIS)
    }
  }

  await Promise.all([
    ...Array.from({ length: writers }, (_, writer) => write(writer)),
    ...Array.from({ length: readers }, () => read()),
  ])
  return { ids, millis: took, failures, looks, torn, failedLooks }
}
