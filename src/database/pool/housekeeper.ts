/** Maintains the idle connections: closes expired ones, pings silent ones, opens those that `pool.min` asks for. */
import type { PoolOptions } from '../options'
import type { PoolCore } from './pool-context'
import type { Liveness, PooledSession } from './pooled-session'
import type { TarnPool } from './tarn-pool'

const INTERVAL_MILLIS = 1000

export class Housekeeper implements Liveness {
  readonly options: Required<PoolOptions>
  suspectSince = -Infinity
  heardAt = -Infinity
  expiredSince = -Infinity
  readonly #pool: PoolCore
  readonly #tarn: TarnPool
  #timer: NodeJS.Timeout | undefined

  constructor(pool: PoolCore, tarn: TarnPool) {
    this.options = pool.context.settings.pool
    this.#pool = pool
    this.#tarn = tarn
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

  /** Puts those connections in doubt that have not answered since then, and pings the idle ones among them at the same time. */
  suspectAll(since = performance.now()): void {
    this.suspectSince = Math.max(this.suspectSince, since)
    if (this.#timer !== undefined) this.sweep()
  }

  /**
   * Has the connections that are open now closed: the idle ones at once, the others when they come back. Returns false if
   * that was done within the last second, and the one that was refused is newer: the database may be read-only on purpose.
   */
  expireAll(refused: PooledSession): boolean {
    if (refused.isExpired) return true
    const now = performance.now()
    if (now - this.expiredSince < INTERVAL_MILLIS) return false
    this.expiredSince = now
    if (this.#timer !== undefined) this.sweep()
    return true
  }

  /** Looks at each idle connection once. */
  sweep(): void {
    const tarn = this.#tarn
    const { min } = this.options
    // Least recently used first.
    for (const pooled of tarn.idle) {
      if (pooled.session.broken !== null) this.#pool.retire(pooled, 'lost')
      else if (pooled.isExpired) this.#pool.retire(pooled, 'old')
      else if (pooled.isIdleTooLong && tarn.openCount > min) this.#pool.retire(pooled, 'idle')
      else if (tarn.hasExcess) this.#pool.retire(pooled, 'extra')
      else if (pooled.needsPing) void tarn.probe(pooled)
    }
    // connect() opens the first connection itself, since it reports why that failed.
    if (this.#timer !== undefined) tarn.openUpTo(min)
  }
}
