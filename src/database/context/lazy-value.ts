/** What a scope has from its first query on: opened by whoever asks first, and ended with the scope. */
import { TransactionClosedError } from '../errors'

export class LazyValue<T extends object> {
  readonly #open: (signal: AbortSignal) => Promise<T>
  readonly #controller = new AbortController()
  #opening: Promise<T> | null = null
  #opened: T | null = null
  #isEnded = false

  /** Opening it is called off by the signal. */
  constructor(open: (signal: AbortSignal) => Promise<T>) {
    this.#open = open
  }

  /** What was opened, if it was. */
  get opened(): T | null {
    return this.#opened
  }

  /**
   * Opens it, or waits for the one who is just opening it.
   *
   * @throws TransactionClosedError when the scope has ended without it
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
      // After a failure the next one who asks may have more luck.
      this.#opening = null
    }
  }

  /** The same, but one that is still waited for is not waited for any longer. */
  cancel(): Promise<T | null> {
    if (this.#opened === null) this.#controller.abort(new Error('The scope has failed.'))
    return this.end()
  }

  /** From now on nothing is opened. Gives what was, if anything. */
  async end(): Promise<T | null> {
    this.#isEnded = true
    // Why it could not be opened was told to those who asked for it.
    await this.#opening?.catch(() => undefined)
    return this.#opened
  }
}
