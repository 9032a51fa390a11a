/** A linked list: values in the order in which they were added, each of which can be removed without a search. */

/** A value in a list. A class instead of a literal: see docs/design.md about objects that live across an await. */
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
 * Used instead of a Set or a Map for what is added and removed with every statement or request. After some additions V8
 * replaces the table of a Set, and the old table points to the new one. Once a table is in the old generation, all later
 * ones stay alive and get there too, with what they hold: on Node 20 and 24 each collection of the young generation then
 * copies nearly all objects made since the last one, instead of next to none, as `node --trace-gc` shows.
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

  /** Returns false if the entry was removed before. */
  remove(entry: Entry<T>): boolean {
    if (!entry.isListed) return false
    const { before, after } = entry
    if (before === null) this.#first = after
    else before.after = after
    if (after === null) this.#last = before
    else after.before = before
    // Removed entries must not keep each other alive.
    entry.before = null
    entry.after = null
    entry.isListed = false
    this.#size -= 1
    return true
  }

  /** Returns a copy of the entries, so that entries can be removed while it is iterated. */
  all(): Entry<T>[] {
    const entries: Entry<T>[] = []
    for (let entry = this.#first; entry !== null; entry = entry.after) entries.push(entry)
    return entries
  }
}
