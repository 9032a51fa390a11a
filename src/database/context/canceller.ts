/** Calling something off: an AbortSignal does it, and so does what is made here, at a small part of its cost. */
import { inspect } from 'node:util'
import { ConfigurationError } from '../errors'
import { type Entry, LinkedList } from './linked-list'

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
  /** Made only if there are any. */
  #listeners: LinkedList<() => void> | null = null
  readonly #makeReason: () => Error
  #reason: Error | undefined

  /** `why` makes the reason, when there is one. */
  constructor(makeReason: () => Error) {
    this.#makeReason = makeReason
  }

  get aborted(): boolean {
    return this.#reason !== undefined
  }

  get reason(): Error | undefined {
    return this.#reason
  }

  /** Does nothing the second time. `reason`: instead of the usual one. */
  abort(reason?: Error): void {
    if (this.#reason !== undefined) return
    this.#reason = reason ?? this.#makeReason()
    // What one of them does may have made another one leave.
    for (const entry of this.#listeners?.all() ?? []) if (entry.isListed) entry.value()
  }

  /** Calls `listener` when it is aborted, later than now. Gives how to forget about it, which takes no search. */
  watch(listener: () => void): () => void {
    const listeners = (this.#listeners ??= new LinkedList())
    const entry = listeners.add(listener)
    return () => {
      listeners.remove(entry)
    }
  }

  addEventListener(_type: 'abort', listener: () => void): void {
    if (this.#find(listener) === undefined) this.watch(listener)
  }

  removeEventListener(_type: 'abort', listener: () => void): void {
    const entry = this.#find(listener)
    if (entry !== undefined) this.#listeners?.remove(entry)
  }

  #find(listener: () => void): Entry<() => void> | undefined {
    return this.#listeners?.all().find(({ value }) => value === listener)
  }
}

/** Calls `listener` when `signal` is aborted, later than now. Gives how to forget about it. */
export function addAbortListener(signal: Cancellation, listener: () => void): () => void {
  if (signal instanceof Canceller) return signal.watch(listener)
  signal.addEventListener('abort', listener)
  return () => {
    signal.removeEventListener('abort', listener)
  }
}
