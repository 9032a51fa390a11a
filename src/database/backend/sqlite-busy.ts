/** Waiting for a file that another process has locked. */
import { setTimeout as pause } from 'node:timers/promises'
import { Canceller } from '../cancellation'
import { Limits } from '../limits'
import type { Mutex, Unlock } from '../mutex'
import { messageOf } from './driver-error'
import { all, exec, type RawConnection } from './sqlite-driver'

/** How long SQLite itself waits, at each attempt. */
const ATTEMPT_MILLIS = 20
/** Random, so that processes that wait do not ask in step. */
const LONGEST_PAUSE_MILLIS = 20

/**
 * Runs a statement again and again while the file is locked. SQLite's busy handler would sleep in one of libuv's threads,
 * where nobody can call it off, and soon asks ten times a second only: beside processes that write without a pause, it
 * finds the file locked for seconds.
 */
async function whileBusy<T>(patienceMillis: number, limits: Limits, attempt: () => Promise<T>): Promise<T> {
  const deadline = performance.now() + patienceMillis
  for (;;) {
    limits.check()
    try {
      return await attempt()
    } catch (error) {
      if (!isBusy(error) || performance.now() >= deadline) throw error
    }
    await pause(Math.random() * LONGEST_PAUSE_MILLIS)
  }
}

/** Whether the file was locked. */
export function isBusy(error: unknown): boolean {
  return messageOf(error).startsWith('SQLITE_BUSY')
}

/** How long the connection was told to wait, by us or by `afterConnect`. From now on that is for {@link whileBusy}. */
export async function takePatience(raw: RawConnection): Promise<number> {
  const [row] = await all(raw, 'PRAGMA busy_timeout')
  const patienceMillis = Number(row?.['timeout'])
  await exec(raw, `PRAGMA busy_timeout = ${Math.min(patienceMillis, ATTEMPT_MILLIS)}`)
  return patienceMillis
}

/** Waiting for a turn, in this process or among several, which can be called off. */
export class Waits {
  #current: Canceller | null = null

  /** In this process. */
  forTurn(mutex: Mutex): Promise<Unlock> {
    return this.#during((limits) => mutex.lock(limits))
  }

  /** Among several. */
  whileBusy<T>(patienceMillis: number, attempt: () => Promise<T>): Promise<T> {
    return this.#during((limits) => whileBusy(patienceMillis, limits, attempt))
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
