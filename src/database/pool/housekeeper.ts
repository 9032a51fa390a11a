/** Maintains the idle connections: closes expired ones, pings silent ones, opens those that `pool.min` asks for. */
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

  /** `min`: how many connections to keep open at any time. */
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

  /** Watches a new connection: when it is lost, the others may be lost too. */
  onOpened({ session }: PooledSession): void {
    session.onLost(() => this.suspectAll())
  }

  /** Puts all connections in doubt, and pings those that are idle. */
  suspectAll(): void {
    this.#liveness.suspectAll()
    this.validateSuspects()
  }

  /** Pings all idle connections that are in doubt, at the same time. */
  validateSuspects(): void {
    if (this.#timer !== undefined) this.sweep()
  }

  /** Looks at each idle connection once. */
  sweep(): void {
    const tarn = this.#tarn
    // Least recently used first.
    for (const pooled of tarn.idle) {
      if (pooled.session.broken !== null) this.#retire(pooled, 'lost')
      else if (pooled.isExpired) this.#retire(pooled, 'old')
      else if (pooled.isIdleTooLong && tarn.openCount > this.#min) this.#retire(pooled, 'idle')
      else if (tarn.hasExcess) this.#retire(pooled, 'extra')
      else if (pooled.needsPing) void tarn.probe(pooled)
    }
    // connect() opens the first connection itself, since it reports why that failed.
    if (this.#timer !== undefined) tarn.openUpTo(this.#min)
  }
}
