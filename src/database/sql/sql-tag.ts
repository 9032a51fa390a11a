/** What a query is: text, a template by the sql tag, or a builder; and json(), which marks a value as JSON. */
import type { Knex } from 'knex'
import type { StandardSchema } from './standard-schema'

/** Values for the `:names` of a text. */
export type Values = Readonly<Record<string, unknown>>

/** SQL text with `:names`, a sql`…` query, or a Knex builder. */
export type Query = string | SqlQuery | Knex.QueryBuilder | Knex.Raw | Knex.SchemaBuilder

/**
 * A piece of SQL with its values. Pieces nest: a piece inside of another one keeps its own values.
 *
 * @example
 * const recent = sql`created_at > ${since}`
 * await database.fetchAll(sql`SELECT * FROM posts WHERE author_id = ${author} AND ${recent}`)
 */
export class SqlQuery {
  readonly #strings: readonly string[]
  readonly #values: readonly unknown[]
  /** What the rows of the query are checked against: see `sql.type`. Undefined for a plain one; a piece's own does not count. */
  readonly schema: StandardSchema | undefined

  constructor(strings: readonly string[], values: readonly unknown[], schema?: StandardSchema) {
    this.#strings = strings
    this.#values = values
    this.schema = schema
  }

  /**
   * Returns the text with `:$0`, `:$1`, … for its values, and the values under these names. The `$` sets them apart from
   * names that a person writes.
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

/** A query whose rows are checked, and so known to be `T`: see `sql.type`. */
export interface TypedSqlQuery<T> extends SqlQuery {
  readonly schema: StandardSchema<T>
}

/**
 * Returns a tag whose queries check what they give against a schema of Zod, Valibot, ArkType or another library that
 * implements Standard Schema: fetchAll(), fetchOne() and iterate() each row, fetchVal() the value.
 *
 * @example
 * const User = z.object({ id: z.number(), username: z.string() })
 * const user = await database.fetchOne(sql.type(User)`SELECT id, username FROM users WHERE id = ${id}`)
 */
sql.type = function type<T>(
  schema: StandardSchema<T>,
): (strings: TemplateStringsArray, ...values: unknown[]) => TypedSqlQuery<T> {
  return (strings, ...values) => new SqlQuery(strings, values, schema) as TypedSqlQuery<T>
}

/** A value that is bound as a JSON document: see {@link json}. */
export class JsonValue {
  readonly text: string

  constructor(value: unknown) {
    this.text = JSON.stringify(value)
  }

  /** Called by pg for a value in an array, which is bound as its text too. */
  toPostgres(): string {
    return this.text
  }

  /** Makes it a plain part of a document that contains it. */
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
