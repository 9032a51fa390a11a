/** What a start that takes long is busy with, told every few seconds. */
import type { Knex } from 'knex'

const TELL_EVERY_MILLIS = 5000

export class Progress {
  readonly #tell: (message: string) => void
  readonly #timer: NodeJS.Timeout
  #step: { readonly what: string; readonly since: number } | null = null

  constructor(tell: (message: string) => void, everyMillis = TELL_EVERY_MILLIS) {
    this.#tell = tell
    this.#timer = setInterval(() => {
      if (this.#step !== null) this.#tell(`${this.#step.what}, for ${this.#seconds(this.#step.since)} s now`)
    }, everyMillis)
  }

  begins(what: string): void {
    this.#step = { what, since: performance.now() }
  }

  /** Tells how long the step took. */
  ends(): void {
    if (this.#step !== null) this.#tell(`${this.#step.what}, done in ${this.#seconds(this.#step.since)} s`)
    this.#step = null
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  /** For Knex, which calls them around each migration. */
  hooks(): { beforeEach: Knex.LifecycleHook; afterEach: Knex.LifecycleHook } {
    return {
      beforeEach: (_knex, [migration]) => {
        this.begins(`migration ${(migration as { file?: string } | undefined)?.file ?? String(migration)}`)
        return Promise.resolve()
      },
      afterEach: () => {
        this.ends()
        return Promise.resolve()
      },
    }
  }

  #seconds(since: number): string {
    return ((performance.now() - since) / 1000).toFixed(1)
  }
}
