/** Calling something off: an AbortSignal does it, and so does what is made here, at a small part of its cost. */
import { inspect } from 'node:util'
import { ConfigurationError } from './errors'

/** What can be called off. */
export interface Cancellation {
  readonly aborted: boolean
  readonly reason: unknown
  addEventListener(type: 'abort', listener: () => void): void
  removeEventListener(type: 'abort', listener: () => void): void
}

/** @throws ConfigurationError for what is none */
export function checkCancellation(signal: unknown): void {
  if (typeof (signal as Partial<Cancellation> | null)?.addEventListener === 'function') return
  throw new ConfigurationError(`signal is an AbortSignal, got ${inspect(signal)}.`)
}

/** What nobody may add to. */
const NONE: (() => void)[] = []

/** For what is made with every request or statement, most of which are never called off. */
export class Canceller implements Cancellation {
  /** Few, and made only if there are any. */
  #listeners: (() => void)[] = NONE
  readonly #why: () => Error
  #reason: Error | undefined

  /** `why` makes the reason, when there is one. */
  constructor(why: () => Error) {
    this.#why = why
  }

  get aborted(): boolean {
    return this.#reason !== undefined
  }

  get reason(): Error | undefined {
    return this.#reason
  }

  /** Does nothing the second time. */
  abort(): void {
    if (this.#reason !== undefined) return
    this.#reason = this.#why()
    // What one of them does may have made another one leave.
    for (const listener of this.#listeners.slice()) if (this.#listeners.includes(listener)) listener()
  }

  addEventListener(_type: 'abort', listener: () => void): void {
    if (this.#listeners === NONE) this.#listeners = [listener]
    else if (!this.#listeners.includes(listener)) this.#listeners.push(listener)
  }

  removeEventListener(_type: 'abort', listener: () => void): void {
    const at = this.#listeners.indexOf(listener)
    if (at >= 0) this.#listeners.splice(at, 1)
  }
}
