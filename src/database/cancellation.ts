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

/** For what is made with every request or statement, most of which are never called off. */
export class Canceller implements Cancellation {
  #listeners: Set<() => void> | null = null
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
    for (const listener of this.#listeners ?? []) listener()
  }

  addEventListener(_type: 'abort', listener: () => void): void {
    ;(this.#listeners ??= new Set()).add(listener)
  }

  removeEventListener(_type: 'abort', listener: () => void): void {
    this.#listeners?.delete(listener)
  }
}
