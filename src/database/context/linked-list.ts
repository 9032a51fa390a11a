/** Values in the order in which they came, any of which may leave at any time. */

/** A value's place in a queue. A class and no literal: see docs/design.md about what lives across an await. */
export class Entry<T> {
  readonly value: T
  before: Entry<T> | null
  after: Entry<T> | null = null
  isListed = true

  constructor(value: T, before: Entry<T> | null) {
    this.value = value
    this.before = before
  }
}

/**
 * For what comes and goes with every statement or request, where a Set or a Map would be a trap: V8 makes the table of
 * one anew after some additions, and leaves in the old table a pointer to the new one. Once such a table has grown old,
 * all that follow it grow old as well, with whatever was in them: on Node 20 each collection of the young generation then
 * copies nearly all that was made since the last one, instead of next to nothing.
 */
export class LinkedList<T> {
  #first: Entry<T> | null = null
  #last: Entry<T> | null = null
  #size = 0

  get size(): number {
    return this.#size
  }

  get first(): T | undefined {
    return this.#first?.value
  }

  add(value: T): Entry<T> {
    const entry = new Entry(value, this.#last)
    if (this.#last === null) this.#first = entry
    else this.#last.after = entry
    this.#last = entry
    this.#size += 1
    return entry
  }

  /** @returns false when it had left already */
  remove(entry: Entry<T>): boolean {
    if (!entry.isListed) return false
    const { before, after } = entry
    if (before === null) this.#first = after
    else before.after = after
    if (after === null) this.#last = before
    else after.before = before
    // Not a chain of those that have left, for the same reason.
    entry.before = null
    entry.after = null
    entry.isListed = false
    this.#size -= 1
    return true
  }

  /** All of them as they are now, whoever leaves while they are looked at. */
  all(): Entry<T>[] {
    const entries: Entry<T>[] = []
    for (let entry = this.#first; entry !== null; entry = entry.after) entries.push(entry)
    return entries
  }
}
