/** Looks after the idle connections: closes what is past its time, asks the silent ones, opens those that are missing. */
import type { RetireEvent } from '../events'
import type { Session } from './dialect'
import type { Fitness } from './fitness'
import type { TarnPool } from './tarn-pool'

export interface UpkeepOptions {
  readonly tarn: TarnPool
  readonly fitness: Fitness
  /** How many are to be there at any time. */
  readonly min: number
  retire(this: void, session: Session, reason: RetireEvent['reason']): void
}

const EVERY_MILLIS = 1000

export class Upkeep {
  readonly #options: UpkeepOptions
  #timer: NodeJS.Timeout | undefined

  constructor(options: UpkeepOptions) {
    this.#options = options
  }

  start(): void {
    this.tend()
    // Idle connections must not keep the process alive.
    this.#timer = setInterval(() => {
      this.tend()
    }, EVERY_MILLIS).unref()
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  tend(): void {
    const { tarn, fitness, min, retire } = this.#options
    // Those at the front were not used for the longest time.
    for (const session of tarn.idle) {
      if (session.broken !== null) retire(session, 'lost')
      else if (fitness.isOld(session)) retire(session, 'old')
      else if (fitness.isSpare(session) && tarn.openCount > min) retire(session, 'idle')
      else if (fitness.isDue(session)) void tarn.probe(session, () => fitness.isAlive(session))
    }
    // The first one is opened by connect(), which tells why it cannot be.
    if (this.#timer !== undefined) tarn.openUpTo(min)
  }
}
