/** Looks after the idle connections: closes what is past its time, asks the silent ones, opens those that are missing. */
import type { RetireEvent } from '../events'
import type { Session } from '../driver/session'
import type { SessionHealth } from './session-health'
import type { TarnPool } from './tarn-pool'

const EVERY_MILLIS = 1000

export class Housekeeper {
  readonly #tarn: TarnPool
  readonly #health: SessionHealth
  readonly #min: number
  readonly #retire: (session: Session, reason: RetireEvent['reason']) => void
  #timer: NodeJS.Timeout | undefined

  /** `min`: how many are to be there at any time. */
  constructor(
    tarn: TarnPool,
    fitness: SessionHealth,
    min: number,
    retire: (session: Session, reason: RetireEvent['reason']) => void,
  ) {
    this.#tarn = tarn
    this.#health = fitness
    this.#min = min
    this.#retire = retire
  }

  start(): void {
    // Idle connections must not keep the process alive.
    this.#timer = setInterval(() => {
      this.tend()
    }, EVERY_MILLIS).unref()
    this.tend()
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  /** When a connection is lost, others may be, too. */
  opened(session: Session): void {
    this.#health.isNew(session)
    session.whenLost(() => this.doubtAll())
  }

  doubtAll(): void {
    this.#health.doubtAll()
    this.askDoubted()
  }

  /** Asks all idle connections that are in doubt, at the same time. */
  askDoubted(): void {
    if (this.#timer !== undefined) this.tend()
  }

  tend(): void {
    const tarn = this.#tarn
    const fitness = this.#health
    // Those at the front were not used for the longest time.
    for (const session of tarn.idle) {
      if (session.broken !== null) this.#retire(session, 'lost')
      else if (fitness.isOld(session)) this.#retire(session, 'old')
      else if (fitness.isSpare(session) && tarn.openCount > this.#min) this.#retire(session, 'idle')
      else if (tarn.hasExtra) this.#retire(session, 'extra')
      else if (fitness.isDue(session)) void tarn.probe(session, () => fitness.isAlive(session))
    }
    // The first one is opened by connect(), which tells why it cannot be.
    if (this.#timer !== undefined) tarn.openUpTo(this.#min)
  }
}
