/** Waiting for a SQLite file that somebody else has locked, in this process or in another. */
import { setTimeout as pause } from 'node:timers/promises'
import { messageOf } from '../driver/driver-error'
import { Canceller } from '../context/canceller'
import { Limits } from '../context/limits'
import type { Mutex, Unlock } from '../context/mutex'
import { own, type SqliteConnection } from './driver'

/** How long SQLite itself waits at each attempt, and how long a pause is at most: random, so that processes do not ask in step. */
const ATTEMPT_MILLIS = 20

export function isBusy(error: unknown): boolean {
  return messageOf(error).startsWith('SQLITE_BUSY')
}

/** Returns how long the connection was told to wait, by us or by `afterConnect`. From now on that is for {@link Waits}. */
export async function takePatience(connection: SqliteConnection): Promise<number> {
  const [row] = await connection.all(own('PRAGMA busy_timeout'))
  const patienceMillis = Number(row?.['timeout'])
  await connection.all(own(`PRAGMA busy_timeout = ${Math.min(patienceMillis, ATTEMPT_MILLIS)}`))
  return patienceMillis
}

/** Asks something that the caller has not asked for, such as the types of columns, again while the file is locked. */
export type Ask = <T>(call: () => Promise<T>) => Promise<T>

/** Waits that can be called off. */
export class Waits {
  #current: Canceller | null = null

  forTurn(mutex: Mutex): Promise<Unlock> {
    return this.#during((limits) => mutex.lock(limits))
  }

  /**
   * Runs a call again and again while the file is locked. SQLite's busy handler would sleep in one of libuv's threads, where
   * nobody can call it off, and soon asks ten times a second only: beside processes that write without a pause, it finds the
   * file locked for seconds.
   */
  whileBusy<T>(patienceMillis: number, call: () => Promise<T>): Promise<T> {
    const deadline = performance.now() + patienceMillis
    return this.#during(async (limits) => {
      for (;;) {
        limits.check()
        try {
          return await call()
        } catch (error) {
          if (!isBusy(error) || performance.now() >= deadline) throw error
        }
        await pause(Math.random() * ATTEMPT_MILLIS)
      }
    })
  }

  async #during<T>(work: (limits: Limits) => Promise<T>): Promise<T> {
    this.#current = new Canceller(() => new Error('The statement was cancelled while it waited.'))
    try {
      return await work(Limits.until(this.#current))
    } finally {
      this.#current = null
    }
  }

  abort(): void {
    this.#current?.abort()
  }
}
