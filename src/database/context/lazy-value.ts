/** A value that the first caller opens, such as the connection of a scope, and that ends with the scope. */
import { TransactionClosedError } from '../errors'

export class LazyValue<T extends object> {
  readonly #open: (signal: AbortSignal) => Promise<T>
  readonly #controller = new AbortController()
  #opening: Promise<T> | null = null
  #opened: T | null = null
  #isEnded = false

  /** The signal of `open` is aborted by {@link cancel}. */
  constructor(open: (signal: AbortSignal) => Promise<T>) {
    this.#open = open
  }

  /** The value, if it is open. */
  get opened(): T | null {
    return this.#opened
  }

  /**
   * Returns the value. The first caller opens it; others wait for that.
   *
   * @throws TransactionClosedError when the scope has ended before the value was opened
   */
  async get(): Promise<T> {
    if (this.#opened !== null) return this.#opened
    if (this.#isEnded) {
      throw new TransactionClosedError(
        'The statement did not run: the scope has ended that it belongs to. Await it there, or wrap it in database.detached().',
      )
    }
    return (this.#opening ??= this.#start())
  }

  async #start(): Promise<T> {
    try {
      this.#opened = await this.#open(this.#controller.signal)
      return this.#opened
    } finally {
      // After a failure the next caller may try again.
      this.#opening = null
    }
  }

  /** Aborts an opening that is under way, then does what {@link end} does. */
  cancel(): Promise<T | null> {
    if (this.#opened === null) this.#controller.abort(new Error('The scope has failed.'))
    return this.end()
  }

  /** Refuses to open the value from now on. Waits for an opening that is under way; returns the value, if it is open. */
  async end(): Promise<T | null> {
    this.#isEnded = true
    // The callers of get() have got the error.
    await this.#opening?.catch(() => undefined)
    return this.#opened
  }
}
