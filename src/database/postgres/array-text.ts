/** A parser of PostgreSQL's array text: https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO */

/**
 * Returns the elements of an array, and arrays of arrays for several dimensions. Calls `read` for the text of each element
 * that is not NULL.
 *
 * @throws Error when `text` is not the text of an array
 */
export function readArray(text: string, delimiter: string, read: (text: string) => unknown): unknown[] {
  // An array whose lower bound is not 1 has its bounds in front: `[0:1]={…}`.
  const reader = new ArrayReader(text, text.indexOf('{'), delimiter, read)
  const elements = reader.list()
  if (reader.at !== text.length) throw new Error('It is not the text of an array')
  return elements
}

class ArrayReader {
  at: number
  readonly #text: string
  readonly #delimiter: string
  readonly #read: (text: string) => unknown

  constructor(text: string, at: number, delimiter: string, read: (text: string) => unknown) {
    this.#text = text
    this.at = at
    this.#delimiter = delimiter
    this.#read = read
  }

  list(): unknown[] {
    const elements: unknown[] = []
    while (this.at < this.#text.length) {
      // Skips the opening brace, or the delimiter.
      this.at += 1
      const first = this.#text[this.at]
      if (first === '{') elements.push(this.list())
      else if (first === '"') elements.push(this.#read(this.#quoted()))
      else if (first !== '}') elements.push(this.#plain())
      if (this.#text[this.at] !== this.#delimiter) break
    }
    this.at += 1
    return elements
  }

  #quoted(): string {
    let value = ''
    let start = this.at + 1
    let end = start
    for (; end < this.#text.length && this.#text[end] !== '"'; end += 1) {
      if (this.#text[end] !== '\\') continue
      value += this.#text.slice(start, end)
      end += 1
      start = end
    }
    this.at = end + 1
    return value + this.#text.slice(start, end)
  }

  #plain(): unknown {
    const start = this.at
    while (this.at < this.#text.length && !this.#isEnd(this.#text[this.at])) this.at += 1
    const value = this.#text.slice(start, this.at)
    return value === 'NULL' ? null : this.#read(value)
  }

  #isEnd(character: string | undefined): boolean {
    return character === this.#delimiter || character === '}'
  }
}
