/** Logs every few seconds which step a slow start is in. */
import type { Knex } from 'knex'

const LOG_EVERY_MILLIS = 5000

export class ProgressLog {
  readonly #log: (message: string) => void
  readonly #timer: NodeJS.Timeout
  #step: { readonly what: string; readonly since: number } | null = null

  constructor(log: (message: string) => void, everyMillis = LOG_EVERY_MILLIS) {
    this.#log = log
    this.#timer = setInterval(() => {
      if (this.#step !== null) this.#log(`${this.#step.what}, for ${this.#seconds(this.#step.since)} s now`)
    }, everyMillis)
  }

  start(what: string): void {
    this.#step = { what, since: performance.now() }
  }

  /** Logs how long the step took. */
  finish(): void {
    if (this.#step !== null) this.#log(`${this.#step.what}, done in ${this.#seconds(this.#step.since)} s`)
    this.#step = null
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  /** Returns hooks that Knex calls before and after each migration. */
  hooks(): { beforeEach: Knex.LifecycleHook; afterEach: Knex.LifecycleHook } {
    return {
      beforeEach: (_knex, [migration]) => {
        this.start(`migration ${(migration as { file?: string } | undefined)?.file ?? String(migration)}`)
        return Promise.resolve()
      },
      afterEach: () => {
        this.finish()
        return Promise.resolve()
      },
    }
  }

  #seconds(since: number): string {
    return ((performance.now() - since) / 1000).toFixed(1)
  }
}
