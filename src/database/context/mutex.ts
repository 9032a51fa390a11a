/** One at a time, in the order asked. */
import type { Limits } from './limits'
import { LinkedList } from './linked-list'

/** Gives the turn to the next in the queue. Calling it twice does no harm. */
export type Unlock = () => void

export class Mutex {
  #locked = false
  /** What tells them that it is their turn. */
  readonly #waiters = new LinkedList<() => void>()

  /** Takes the turn if nobody has it; else null. */
  tryLock(): Unlock | null {
    if (this.#locked) return null
    this.#locked = true
    return this.#unlocker()
  }

  /**
   * Resolves when it is this caller's turn. A caller whose limits run out while it waits leaves the queue, and
   * the others keep their places.
   *
   * @throws what `limits` makes of its reason: see {@link Limits.error}
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
