/** Turns SQL with `:names`, a sql`…` query or a Knex builder into a statement for the driver. */
import { BindError, ConfigurationError, QueryError } from '../errors'
import { JsonValue, type Query, SqlQuery, type Values } from './sql-tag'
import { bulkInsertOf, rowsPerInsert, tupleWriter } from './bulk-insert'
import type { Dialect } from '../driver/dialect'
import { BoundStatement, type ParsedSql, type Statement, type Take } from '../driver/statement'
import { messageOf } from '../driver/driver-error'
import { BuilderCompiler, isCompilable, type KnexProgram, type KnexQuery } from './builder-compiler'
import { emptyQueryError, multiStatementError, parseSql } from './parser'
import { TextCache } from './text-cache'

export type { Take } from '../driver/statement'

/** A text that was compiled before. */
interface CompiledText {
  readonly parsed: ParsedSql
  /** The text for the driver, if it is the same for all values; else null. */
  readonly constant: string | null
}

/** How many parsed texts are kept. */
const CACHE_SIZE = 1000

export class Compiler {
  readonly #dialect: Dialect
  readonly #builders: BuilderCompiler
  readonly #texts = new TextCache<CompiledText>(CACHE_SIZE)

  constructor(dialect: Dialect) {
    this.#dialect = dialect
    this.#builders = new BuilderCompiler(dialect, this)
  }

  /**
   * Turns a query and its values into a statement, or into a program that only Knex can run.
   *
   * @throws BindError when values and placeholders do not match, or a value cannot be bound
   * @throws ConfigurationError when `query` is no query, or is bound to a transaction of Knex's own
   */
  compile(query: Query, values: Values | undefined, take: Take): Statement | KnexProgram {
    if (values !== undefined && (typeof values !== 'object' || values === null || Array.isArray(values))) {
      throw new ConfigurationError(
        `Values are an object with a property for each :name, got ${typeName(values)}.`,
      )
    }
    if (typeof query === 'string') return this.#fromText(query, values, take)
    if (query instanceof SqlQuery) {
      refuseValues(values, 'a sql`…` query')
      const named = query.toNamed()
      return this.#fromText(named.text, named.values, take)
    }
    if (!isCompilable(query)) {
      throw new ConfigurationError(`A query is SQL text, sql\`…\` or a Knex builder, got ${typeName(query)}.`)
    }
    refuseValues(values, 'a Knex builder')
    return this.#builders.compile(query, take)
  }

  /**
   * Returns how many sets of values go into one INSERT, and a function that makes it. Null when the text must be run once
   * for each set.
   */
  bulk(
    text: string,
  ): { readonly size: number; statementFor(this: void, rows: readonly Values[]): Statement } | null {
    const parsed = this.parse(text)
    const insert = parsed.foundPlaceholder === null && !parsed.isMultiStatement ? bulkInsertOf(parsed) : null
    if (insert === null) return null
    const { names, insertsInto } = insert
    const textFor = tupleWriter(insert, (n) => this.#dialect.placeholder(n))
    const statementFor = (rows: readonly Values[]): Statement => {
      const bindings: unknown[] = []
      for (const row of rows) {
        refuseMismatch(parsed.names, row, text)
        for (const name of names) bindings.push(this.#toDriver(name, row[name], text))
      }
      const sql = textFor(rows.length)
      return { sql, shownSql: text, bindings, insertsInto, facts: parsed, take: 'count', isPartOfBulk: true }
    }
    return { size: rowsPerInsert(names.length), statementFor }
  }

  /** Returns a statement of the library itself, such as COMMIT. */
  plain(sql: string, take: Take = { take: 'count' }): Statement {
    return new BoundStatement(sql, [], this.parse(sql), take)
  }

  /**
   * Returns the statement for SQL that Knex has compiled and is about to run.
   *
   * @throws BindError when a value cannot be bound
   */
  fromKnex(query: KnexQuery): Statement {
    return this.#builders.fromKnex(query)
  }

  /** Parses SQL text, or returns the result of an earlier parse. */
  parse(sql: string): ParsedSql {
    return this.#compiledText(sql).parsed
  }

  #compiledText(sql: string): CompiledText {
    const known = this.#texts.get(sql)
    if (known !== undefined) return known
    if (sql.includes('\0'))
      throw new QueryError(
        'The statement holds a NUL, where databases stop reading. Bind it as a value.',
        sql,
      )
    const parsed = parseSql(sql, this.#dialect.lexicon)
    const compiled = { parsed, constant: this.#constantTextOf(parsed) }
    this.#texts.set(sql, compiled)
    return compiled
  }

  #fromText(text: string, values: Values = {}, take: Take): Statement {
    const { parsed, constant } = this.#compiledText(text)
    const { names } = parsed
    if (parsed.foundPlaceholder !== null) {
      throw new BindError(
        `The statement holds the placeholder '${parsed.foundPlaceholder}'. Write :name and give its value under that name.`,
        text,
      )
    }
    if (parsed.verb === '') throw emptyQueryError()
    if (parsed.isMultiStatement) throw multiStatementError(text)
    refuseMismatch(names, values, text)
    if (constant === null) return this.#withLists(parsed, values, text, take)
    const bindings = names.map((name) => this.#toDriver(name, values[name], text))
    return new BoundStatement(constant, bindings, parsed, take)
  }

  /** Returns the text for the driver if it is the same for all values; else null. */
  #constantTextOf({ segments, names }: ParsedSql): string | null {
    if (segments.some((segment) => 'name' in segment && segment.isList)) return null
    const numbers = new Map(names.map((name, index) => [name, index + 1]))
    const texts = segments.map((segment) =>
      'text' in segment ? segment.text : this.#dialect.placeholder(numbers.get(segment.name) ?? NaN),
    )
    return texts.join('')
  }

  /** Makes a statement whose text depends on the values: a list takes one placeholder per element. */
  #withLists(parsed: ParsedSql, values: Values, text: string, take: Take): Statement {
    const bindings: unknown[] = []
    const placeholders = new Map<string, string>()
    const add = (name: string, value: unknown): string => {
      bindings.push(this.#toDriver(name, value, text))
      return this.#dialect.placeholder(bindings.length)
    }
    let sql = ''
    for (const segment of parsed.segments) {
      if ('text' in segment) {
        sql += segment.text
        continue
      }
      const value = values[segment.name]
      if (segment.isList && Array.isArray(value)) {
        if (value.some(Array.isArray))
          throw new BindError(`The value of :${segment.name} must be a flat list.`, text)
        sql = this.#dialect.writeList(sql, segment.isNegated, value, (element) => add(segment.name, element))
        continue
      }
      // A name that occurs again is bound once.
      const placeholder = placeholders.get(segment.name) ?? add(segment.name, value)
      placeholders.set(segment.name, placeholder)
      sql += placeholder
    }
    return new BoundStatement(sql, bindings, parsed, take)
  }

  #toDriver(name: string, value: unknown, text: string): unknown {
    try {
      return this.#dialect.toDriver(value instanceof JsonValue ? value.text : value)
    } catch (cause) {
      const which = name.startsWith('$')
        ? `value ${Number(name.slice(1)) + 1} of the template`
        : `value of :${name}`
      throw new BindError(`The ${which} ${messageOf(cause)}`, text)
    }
  }
}

/** @throws ConfigurationError for values given with a query that has its own */
function refuseValues(values: Values | undefined, what: string): void {
  if (values !== undefined && Object.keys(values).length > 0) {
    throw new ConfigurationError(`Values go with SQL text; ${what} has its own.`)
  }
}

/** @throws BindError when the names of the values are not those of the text */
function refuseMismatch(names: readonly string[], values: Values, text: string): void {
  if (typeof values !== 'object' || values === null) {
    throw new ConfigurationError(
      `Values are an object with a property for each :name, got ${typeName(values)}.`,
    )
  }
  const given = Object.keys(values)
  if (given.length === names.length && names.every((name) => Object.hasOwn(values, name))) return
  const missing = names.filter((name) => !Object.hasOwn(values, name))
  const extra = given.filter((name) => !names.includes(name))
  if (missing.length === 0 && extra.length === 0) return
  throw new BindError(`The values do not match the statement: ${mismatch(missing, extra)}.`, text)
}

function mismatch(missing: readonly string[], extra: readonly string[]): string {
  const list = (names: readonly string[]): string => names.map((name) => `:${name}`).join(', ')
  const parts: string[] = []
  if (missing.length > 0) parts.push(`it needs ${list(missing)}, for which no value was given`)
  if (extra.length > 0) parts.push(`it has no ${list(extra)}, for which a value was given`)
  return parts.join('; ')
}

/** Returns what to call a value in an error, without its content. */
function typeName(value: unknown): string {
  if (value === null) return 'null'
  return Array.isArray(value) ? 'an array' : typeof value
}
