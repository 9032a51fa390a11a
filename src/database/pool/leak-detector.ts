/** Watches the connections that are out, reports those that do not come back, and takes them back in the end. */
import { TransactionClosedError } from '../errors'
import type { Events } from '../events'
import type { PoolOptions } from '../options'
import { LinkedList } from '../context/linked-list'
import type { StatementErrorFactory } from './transaction-control'
import type { Lease } from './lease'

/** Ends a loan whose user has not ended it, who is told why. */
type Reclaim = (lease: Lease, makeError: StatementErrorFactory) => Promise<void>

const LONGEST_TICK_MILLIS = 250

export class LeakDetector {
  /** Reported when out for longer than this; 0: never. */
  readonly #thresholdMillis: number
  /** Taken back when out for longer than this; 0: never. */
  readonly #timeoutMillis: number
  readonly #events: Events
  readonly #reclaim: Reclaim
  readonly #tickMillis: number
  /** In the order in which they were lent. */
  readonly #leases = new LinkedList<Lease>()
  /** Time that this process was awake for: the sum of its ticks, each no longer than it should have been. */
  #awakeMillis = 0
  #lastTick = 0
  #timer: NodeJS.Timeout | undefined

  constructor(options: Required<PoolOptions>, events: Events, reclaim: Reclaim) {
    this.#thresholdMillis = options.leakThresholdMillis
    this.#timeoutMillis = options.leakTimeoutMillis
    this.#events = events
    this.#reclaim = reclaim
    const bounds = [this.#thresholdMillis, this.#timeoutMillis].filter((millis) => millis > 0)
    this.#tickMillis = Math.max(10, Math.min(LONGEST_TICK_MILLIS, ...bounds.map((millis) => millis / 4)))
  }

  get isOn(): boolean {
    return this.#thresholdMillis > 0 || this.#timeoutMillis > 0
  }

  /** To be called when it is on.  */
  track(lease: Lease): void {
    if (this.#timer === undefined) this.#start()
    lease.watch = {
      entry: this.#leases.add(lease),
      since: this.#now(),
      isReported: false,
      isReclaimed: false,
    }
  }

  /** @returns whether it had been reported */
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
    // What came back meanwhile has not been read yet.
    if (isLate) return
    const thresholdMillis = this.#thresholdMillis
    const timeoutMillis = this.#timeoutMillis
    for (const entry of this.#leases.all()) {
      // A listener that was told of another one may have given it back.
      if (!entry.isListed) continue
      const lease = entry.value
      const { watch } = lease
      if (watch === null) continue
      const heldMillis = this.#awakeMillis - watch.since
      // In the order in which they were lent: those that follow are out for less.
      if (heldMillis <= Math.min(thresholdMillis || Infinity, timeoutMillis || Infinity)) return
      if (thresholdMillis > 0 && heldMillis > thresholdMillis && !watch.isReported) {
        watch.isReported = true
        this.#events.tell('leak', { state: 'held', ...lease.describe() })
      }
      if (timeoutMillis > 0 && heldMillis > timeoutMillis && !watch.isReclaimed && entry.isListed) {
        watch.isReclaimed = true
        this.#events.tell('leak', { state: 'reclaimed', ...lease.describe() })
        void this.#reclaim(lease, (_sql, cause) => reclaimedError(timeoutMillis, cause))
      }
    }
  }

  /** A process that was stopped, or computed for long, must not take it for the borrowers' fault. */
  #now(): number {
    return this.#awakeMillis + Math.min(performance.now() - this.#lastTick, this.#tickMillis)
  }
}

/** What the user of a connection is told that was taken back. */
function reclaimedError(millis: number, cause: unknown): TransactionClosedError {
  return new TransactionClosedError(
    `The connection was out for more than ${millis} ms and was taken back (pool.leakTimeoutMillis). What ran on it was ` +
      'cancelled, and what was open in it was rolled back.',
    { cause },
  )
}
