/** What was found out about texts of SQL. Bounded in number and in size, since a program may make texts without end. */

/** A text as long as this was made by a program, as a bulk import is, and seldom comes twice. */
export const LONGEST_KEPT = 10_000

export class TextCache<T> {
  readonly #capacity: number
  readonly #known = new Map<string, T>()

  constructor(capacity: number) {
    this.#capacity = capacity
  }

  get(text: string): T | undefined {
    return this.#known.get(text)
  }

  set(text: string, value: T): void {
    if (text.length > LONGEST_KEPT) return
    if (this.#known.size >= this.#capacity) {
      for (const oldest of this.#known.keys()) {
        this.#known.delete(oldest)
        break
      }
    }
    this.#known.set(text, value)
  }

  /** What is known about a text, found out if need be. */
  for(text: string, find: () => T): T {
    const known = this.#known.get(text)
    if (known !== undefined) return known
    const found = find()
    this.set(text, found)
    return found
  }

  clear(): void {
    this.#known.clear()
  }
}
