/** SQL as a tagged template, and values that need a word said about them. Values are bound, never pasted in. */

/**
 * A piece of SQL with its values. Pieces nest: one put into another keeps its own values.
 *
 * @example
 * const recent = sql`created_at > ${since}`
 * await database.fetchAll(sql`SELECT * FROM posts WHERE author_id = ${author} AND ${recent}`)
 */
export class SqlQuery {
  readonly #strings: readonly string[]
  readonly #values: readonly unknown[]

  constructor(strings: readonly string[], values: readonly unknown[]) {
    this.#strings = strings
    this.#values = values
  }

  /**
   * The text with a `:$0` for each value, and the values under these names. The `$` keeps them apart from any
   * name that a person writes.
   */
  toNamed(): { text: string; values: Record<string, unknown> } {
    const values: Record<string, unknown> = {}
    const text = this.#write(values)
    return { text, values }
  }

  #write(values: Record<string, unknown>): string {
    let text = this.#strings[0] ?? ''
    this.#values.forEach((value, index) => {
      if (value instanceof SqlQuery) {
        text += value.#write(values)
      } else {
        const name = `$${Object.keys(values).length}`
        values[name] = value
        text += `:${name}`
      }
      text += this.#strings[index + 1] ?? ''
    })
    return text
  }
}

/**
 * Makes a query of a template. Each `${value}` is bound; an array spreads inside `IN (…)`.
 *
 * @example
 * await database.fetchOne(sql`SELECT * FROM users WHERE id = ${id}`)
 */
export function sql(strings: TemplateStringsArray, ...values: unknown[]): SqlQuery {
  return new SqlQuery(strings, values)
}

/** A value that is to be bound as a JSON document: see {@link json}. */
export class JsonValue {
  readonly text: string

  constructor(value: unknown) {
    this.text = JSON.stringify(value)
  }

  /** For pg: in an array it is bound as its text, too. */
  toPostgres(): string {
    return this.text
  }

  /** In another document it is that part of it. */
  toJSON(): unknown {
    return JSON.parse(this.text)
  }
}

/**
 * Says that an object or array is meant as a JSON document. Without it, text with `:names` refuses an object, since
 * an object that arrives where a number was expected is nearly always an attack or a mistake.
 *
 * @example
 * await database.execute('INSERT INTO events (payload) VALUES (:payload)', { payload: json({ kind: 'signup' }) })
 */
export function json(value: unknown): JsonValue {
  return new JsonValue(value)
}
