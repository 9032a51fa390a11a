/** A mutex: one caller at a time, first come, first served. */
import type { Limits } from './limits'
import { LinkedList } from './linked-list'

/** Gives the lock to the next caller in the queue. A second call does nothing. */
export type Unlock = () => void

export class Mutex {
  #locked = false
  /** Functions that give the lock to a waiting caller. */
  readonly #waiters = new LinkedList<() => void>()

  /** Takes the lock if it is free; else returns null. */
  tryLock(): Unlock | null {
    if (this.#locked) return null
    this.#locked = true
    return this.#unlocker()
  }

  /**
   * Resolves when the caller has the lock. A caller whose limits run out while it waits leaves the queue, and the others
   * keep their places.
   *
   * @throws the error of `limits`: see {@link Limits.error}
   */
  lock(limits: Limits): Promise<Unlock> {
    const unlock = this.tryLock()
    if (unlock !== null) return Promise.resolve(unlock)
    return new Promise((resolve, reject) => {
      const entry = this.#waiters.add(() => {
        this.#waiters.remove(entry)
        stopWatching()
        resolve(this.#unlocker())
      })
      const stopWatching = limits.watch((expiry) => {
        this.#waiters.remove(entry)
        reject(limits.error(expiry))
      })
    })
  }

  #unlocker(): Unlock {
    let isUnlocked = false
    return () => {
      if (isUnlocked) return
      isUnlocked = true
      const grant = this.#waiters.first
      if (grant === undefined) this.#locked = false
      else grant()
    }
  }
}
