/** What was found out about texts of SQL. Bounded in number and in size, since a program may make texts without end. */

/** A text as long as this was made by a program, as a bulk import is, and seldom comes twice. */
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

  /** What is known about a text, found out if need be. */
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
