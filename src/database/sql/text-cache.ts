/** A cache by SQL text, bounded in number and in length, since a program may generate texts without end. */

/** A longer text is generated, as for a bulk import, and seldom comes twice. */
export const MAX_TEXT_LENGTH = 10_000

export class TextCache<T> {
  readonly #capacity: number
  readonly #entries = new Map<string, T>()

  constructor(capacity: number) {
    this.#capacity = capacity
  }

  get(text: string): T | undefined {
    return this.#entries.get(text)
  }

  set(text: string, value: T): void {
    if (text.length > MAX_TEXT_LENGTH) return
    if (this.#entries.size >= this.#capacity) {
      for (const oldest of this.#entries.keys()) {
        this.#entries.delete(oldest)
        break
      }
    }
    this.#entries.set(text, value)
  }

  /** Returns the value for a text, made by `make` and kept if there is none yet. */
  getOrMake(text: string, make: () => T): T {
    const cached = this.#entries.get(text)
    if (cached !== undefined) return cached
    const made = make()
    this.set(text, made)
    return made
  }

  clear(): void {
    this.#entries.clear()
  }
}
