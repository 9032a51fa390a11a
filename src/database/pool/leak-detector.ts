/** Watches the leases, reports those that are held for too long, and takes them back in the end. */
import { TransactionClosedError } from '../errors'
import { LinkedList } from '../context/linked-list'
import type { Lease } from './lease'
import type { PoolCore } from './pool-context'

const LONGEST_TICK_MILLIS = 250

export class LeakDetector {
  /** A lease held for longer is reported; 0: never. */
  readonly #thresholdMillis: number
  /** A lease held for longer is taken back; 0: never. */
  readonly #timeoutMillis: number
  readonly #pool: PoolCore
  readonly #tickMillis: number
  /** Oldest first. */
  readonly #leases = new LinkedList<Lease>()
  /** A clock that stops while the process does: the sum of the ticks, each counted at most as planned. */
  #awakeMillis = 0
  #lastTick = 0
  #timer: NodeJS.Timeout | undefined

  /** Returns the detector of a pool; null if its options turn it off. */
  static of(pool: PoolCore): LeakDetector | null {
    const { leakThresholdMillis, leakTimeoutMillis } = pool.context.settings.pool
    return leakThresholdMillis > 0 || leakTimeoutMillis > 0 ? new LeakDetector(pool) : null
  }

  private constructor(pool: PoolCore) {
    const { leakThresholdMillis, leakTimeoutMillis } = pool.context.settings.pool
    this.#thresholdMillis = leakThresholdMillis
    this.#timeoutMillis = leakTimeoutMillis
    this.#pool = pool
    const bounds = [this.#thresholdMillis, this.#timeoutMillis].filter((millis) => millis > 0)
    this.#tickMillis = Math.max(10, Math.min(LONGEST_TICK_MILLIS, ...bounds.map((millis) => millis / 4)))
  }

  /** Begins to watch a lease. */
  track(lease: Lease): void {
    if (this.#timer === undefined) this.#start()
    lease.watch = {
      entry: this.#leases.add(lease),
      since: this.#now(),
      isReported: false,
      isReclaimed: false,
    }
  }

  /** Ends the watch over a lease. Returns whether it had been reported as a leak. */
  untrack({ watch }: Lease): boolean {
    return watch !== null && this.#leases.remove(watch.entry) && watch.isReported
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
    for (const entry of this.#leases.all()) this.#leases.remove(entry)
  }

  #start(): void {
    this.#lastTick = performance.now()
    this.#timer = setInterval(() => {
      this.#tick()
    }, this.#tickMillis).unref()
  }

  #tick(): void {
    const isLate = performance.now() - this.#lastTick > 2 * this.#tickMillis
    this.#awakeMillis = this.#now()
    this.#lastTick = performance.now()
    if (this.#leases.size === 0) {
      clearInterval(this.#timer)
      this.#timer = undefined
      return
    }
    // After a pause of the process, leases may end as soon as Node reads what has arrived: they get one more tick.
    if (isLate) return
    const { events } = this.#pool.context
    const thresholdMillis = this.#thresholdMillis
    const timeoutMillis = this.#timeoutMillis
    for (const entry of this.#leases.all()) {
      // A listener of an earlier 'leak' event may have released this lease.
      if (!entry.isListed) continue
      const lease = entry.value
      const { watch } = lease
      if (watch === null) continue
      const heldMillis = this.#awakeMillis - watch.since
      // The leases that follow are younger.
      if (heldMillis <= Math.min(thresholdMillis || Infinity, timeoutMillis || Infinity)) return
      if (thresholdMillis > 0 && heldMillis > thresholdMillis && !watch.isReported) {
        watch.isReported = true
        events.tell('leak', { state: 'held', ...lease.describe() })
      }
      if (timeoutMillis > 0 && heldMillis > timeoutMillis && !watch.isReclaimed && entry.isListed) {
        watch.isReclaimed = true
        events.tell('leak', { state: 'reclaimed', ...lease.describe() })
        void this.#pool.release(lease, (_sql, cause) => reclaimedError(timeoutMillis, cause))
      }
    }
  }

  /** Returns the time on that clock: a pause of the process does not count as time for which a lease was held. */
  #now(): number {
    return this.#awakeMillis + Math.min(performance.now() - this.#lastTick, this.#tickMillis)
  }
}

/** Returns the error for the holder of a lease that was taken back. */
function reclaimedError(millis: number, cause: unknown): TransactionClosedError {
  return new TransactionClosedError(
    `The connection was out for more than ${millis} ms and was taken back (pool.leakTimeoutMillis). What ran on it was ` +
      'cancelled, and what was open in it was rolled back.',
    { cause },
  )
}
