/** Waits for a SQLite file that another connection has locked, in this process or in another. */
import { setTimeout as pause } from 'node:timers/promises'
import { messageOf } from '../driver/driver-error'
import { Canceller } from '../context/canceller'
import { Limits } from '../context/limits'
import type { Mutex, Unlock } from '../context/mutex'
import { ownStatement, type SqliteConnection } from './driver'

/** How long SQLite waits at each attempt, and the longest pause between attempts, which is random to spread processes. */
const ATTEMPT_MILLIS = 20

export function isBusy(error: unknown): boolean {
  return messageOf(error).startsWith('SQLITE_BUSY')
}

/**
 * Returns the connection's busy timeout, which this library or `afterConnect` has set, and shortens it to one attempt:
 * {@link AbortableWaits} does the waiting from now on.
 */
export async function takeOverBusyTimeout(connection: SqliteConnection): Promise<number> {
  const [row] = await connection.all(ownStatement('PRAGMA busy_timeout'))
  const busyTimeoutMillis = Number(row?.['timeout'])
  await connection.all(ownStatement(`PRAGMA busy_timeout = ${Math.min(busyTimeoutMillis, ATTEMPT_MILLIS)}`))
  return busyTimeoutMillis
}

/** Runs a query of the library's own, such as for the types of columns, and repeats it while the file is locked. */
export type RetryWhileBusy = <T>(call: () => Promise<T>) => Promise<T>

/** The waits of one session, which can be aborted. */
export class AbortableWaits {
  #current: Canceller | null = null

  /** Waits for a mutex. */
  lock(mutex: Mutex): Promise<Unlock> {
    return this.#abortable((limits) => mutex.lock(limits))
  }

  /**
   * Repeats a call while the file is locked, for up to `busyTimeoutMillis`. SQLite's busy handler would sleep in a libuv thread,
   * where nothing can abort it, and would soon try only ten times a second: beside processes that write all the time it finds
   * the file locked for seconds.
   */
  retryWhileBusy<T>(busyTimeoutMillis: number, call: () => Promise<T>): Promise<T> {
    const deadline = performance.now() + busyTimeoutMillis
    return this.#abortable(async (limits) => {
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

  async #abortable<T>(work: (limits: Limits) => Promise<T>): Promise<T> {
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
