/** Cancellation: the part of an AbortSignal that the library uses, and a cheaper class that has it. */
import { inspect } from 'node:util'
import { ConfigurationError } from '../errors'
import { type Entry, LinkedList } from './linked-list'

/** Says whether and why something is cancelled. AbortSignal and {@link Canceller} satisfy it. */
export interface Cancellation {
  readonly aborted: boolean
  readonly reason: unknown
  addEventListener(type: 'abort', listener: () => void): void
  removeEventListener(type: 'abort', listener: () => void): void
}

/** @throws ConfigurationError for a signal that is no AbortSignal or Canceller */
export function checkCancellation(signal: unknown): void {
  if (typeof (signal as Partial<Cancellation> | null)?.addEventListener === 'function') return
  throw new ConfigurationError(`signal is an AbortSignal, got ${inspect(signal)}.`)
}

/** A controller and its signal in one object, for what is made with every request or statement and seldom aborted. */
export class Canceller implements Cancellation {
  /** Made with the first listener. */
  #listeners: LinkedList<() => void> | null = null
  readonly #makeReason: () => Error
  #reason: Error | undefined

  /** `makeReason`: called when it is aborted without a reason. */
  constructor(makeReason: () => Error) {
    this.#makeReason = makeReason
  }

  get aborted(): boolean {
    return this.#reason !== undefined
  }

  get reason(): Error | undefined {
    return this.#reason
  }

  /** Aborts it, which does nothing the second time. `reason` replaces the usual one. */
  abort(reason?: Error): void {
    if (this.#reason !== undefined) return
    this.#reason = reason ?? this.#makeReason()
    // An earlier listener may have removed this one.
    for (const entry of this.#listeners?.all() ?? []) if (entry.isListed) entry.value()
  }

  /** Adds a listener for a future abort. Returns a function that removes it, without a search. */
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

/** Adds a listener for a future abort of `signal`. Returns a function that removes it. */
export function addAbortListener(signal: Cancellation, listener: () => void): () => void {
  if (signal instanceof Canceller) return signal.watch(listener)
  signal.addEventListener('abort', listener)
  return () => {
    signal.removeEventListener('abort', listener)
  }
}
