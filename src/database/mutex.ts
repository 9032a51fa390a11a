/** One at a time, in the order asked. */
import type { Limits } from './limits'

/** Gives the turn to the next in the queue. Calling it twice does no harm. */
export type Unlock = () => void

interface Waiter {
  readonly grant: () => void
}

export class Mutex {
  #locked = false
  readonly #queue = new Set<Waiter>()

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
      const waiter: Waiter = {
        grant: () => {
          stopWatching()
          resolve(this.#unlocker())
        },
      }
      this.#queue.add(waiter)
      const stopWatching = limits.watch((expiry) => {
        this.#queue.delete(waiter)
        reject(limits.error(expiry))
      })
    })
  }

  #unlocker(): Unlock {
    let used = false
    return () => {
      if (used) return
      used = true
      const [next] = this.#queue
      if (next === undefined) {
        this.#locked = false
      } else {
        this.#queue.delete(next)
        next.grant()
      }
    }
  }
}
