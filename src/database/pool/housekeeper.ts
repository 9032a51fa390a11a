/** Looks after the idle connections: closes what is past its time, asks the silent ones, opens those that are missing. */
import type { RetireEvent } from '../events'
import type { Liveness, PooledSession } from './pooled-session'
import type { TarnPool } from './tarn-pool'

const INTERVAL_MILLIS = 1000

export class Housekeeper {
  readonly #tarn: TarnPool
  readonly #liveness: Liveness
  readonly #min: number
  readonly #retire: (pooled: PooledSession, reason: RetireEvent['reason']) => void
  #timer: NodeJS.Timeout | undefined

  /** `min`: how many are to be there at any time. */
  constructor(
    tarn: TarnPool,
    liveness: Liveness,
    min: number,
    retire: (pooled: PooledSession, reason: RetireEvent['reason']) => void,
  ) {
    this.#tarn = tarn
    this.#liveness = liveness
    this.#min = min
    this.#retire = retire
  }

  start(): void {
    // Idle connections must not keep the process alive.
    this.#timer = setInterval(() => {
      this.sweep()
    }, INTERVAL_MILLIS).unref()
    this.sweep()
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  /** When a connection is lost, others may be, too. */
  onOpened({ session }: PooledSession): void {
    session.onLost(() => this.suspectAll())
  }

  suspectAll(): void {
    this.#liveness.suspectAll()
    this.validateSuspects()
  }

  /** Asks all idle connections that are in doubt, at the same time. */
  validateSuspects(): void {
    if (this.#timer !== undefined) this.sweep()
  }

  sweep(): void {
    const tarn = this.#tarn
    // Those at the front were not used for the longest time.
    for (const pooled of tarn.idle) {
      if (pooled.session.broken !== null) this.#retire(pooled, 'lost')
      else if (pooled.isExpired) this.#retire(pooled, 'old')
      else if (pooled.isIdleTooLong && tarn.openCount > this.#min) this.#retire(pooled, 'idle')
      else if (tarn.hasExcess) this.#retire(pooled, 'extra')
      else if (pooled.needsPing) void tarn.probe(pooled)
    }
    // The first one is opened by connect(), which tells why it cannot be.
    if (this.#timer !== undefined) tarn.openUpTo(this.#min)
  }
}
