/** A cache by SQL text, bounded in number and in length, since a program may generate texts without end. */

/** A longer text is generated, as for a bulk import, and seldom comes twice. */
export const MAX_TEXT_LENGTH = 10_000

export class TextCache<T> extends Map<string, T> {
  readonly #capacity: number

  constructor(capacity: number) {
    super()
    this.#capacity = capacity
  }

  /** Keeps a value, unless the text is very long. Evicts the oldest one when the cache is full. */
  override set(text: string, value: T): this {
    if (text.length > MAX_TEXT_LENGTH) return this
    const [oldest] = this.size < this.#capacity ? [] : this.keys()
    if (oldest !== undefined) this.delete(oldest)
    return super.set(text, value)
  }

  /** Returns the value for a text, made by `make` and kept if there is none yet. */
  getOrMake(text: string, make: () => T): T {
    const cached = this.get(text)
    if (cached !== undefined) return cached
    const made = make()
    this.set(text, made)
    return made
  }
}
