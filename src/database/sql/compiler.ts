/** Turns SQL with `:names`, a sql`…` query or a Knex builder into a statement for the driver. */
import type { Knex } from 'knex'
import { BindError, ConfigurationError, QueryError } from '../errors'
import { JsonValue, SqlQuery } from './sql-tag'
import { bulkInsertOf, rowsPerInsert, tupleWriter } from './bulk-insert'
import type { Dialect } from '../driver/dialect'
import { type Statement, type Take, BoundStatement, type ParsedSql } from '../driver/statement'
import { messageOf } from '../driver/driver-error'
import { parseSql } from './parser'
import { TextCache } from './text-cache'
import { typeName, refuseMismatch, refuseValues, type Values } from './bind-values'

/** SQL text with `:names`, a sql`…` query, or a Knex builder. */
export type Query = string | SqlQuery | Knex.QueryBuilder | Knex.Raw | Knex.SchemaBuilder
export type { Values } from './bind-values'

/** The part of a Knex builder by which its SQL is read without running it. */
interface Compilable {
  readonly client?: {
    readonly transacting?: boolean
    readonly config: { readonly postProcessResponse?: unknown }
    postProcessResponse(response: unknown, context: unknown): unknown
  }
  queryContext?(): unknown
  toSQL(): CompiledByKnex | readonly CompiledByKnex[]
}

interface CompiledByKnex {
  readonly sql: string
  readonly bindings: readonly unknown[]
  readonly options?: object
  readonly timeout?: number | false
  toNative?(): { readonly sql: string; readonly bindings: readonly unknown[] }
}

export type { Take } from '../driver/statement'

/** A query that Knex has compiled; Knex's dialects read `response` and `context` after it has run. */
export interface KnexQuery {
  sql: string
  bindings?: readonly unknown[]
  /** Undefined for SQL that Knex writes itself: BEGIN, SAVEPOINT, COMMIT and the like. */
  method?: string
  returning?: unknown
  options?: object
  /** The milliseconds of `.timeout(ms)`. */
  timeout?: number | false
  cancelOnTimeout?: boolean
  response?: unknown
  context?: unknown
}

/** A builder that needs Knex itself to run it: several statements, or work between them. */
export class KnexProgram {
  constructor(readonly builder: Knex.SchemaBuilder) {}
}

/** How many parsed texts are kept. */
const CACHE_SIZE = 1000

/** Methods for which Knex's SQLite dialect reads counts and ids instead of rows. */
const COUNTING_METHODS: ReadonlySet<string> = new Set(['insert', 'update', 'del', 'counter'])

export class Compiler {
  readonly #dialect: Dialect
  readonly #parsed = new TextCache<ParsedSql>(CACHE_SIZE)
  /** The text for the driver, where it does not depend on the values; null where it does. */
  readonly #constantTexts = new WeakMap<ParsedSql, string | null>()
  /** SQL that Knex has compiled, with the driver's placeholders. */
  readonly #nativeTexts = new TextCache<string>(CACHE_SIZE)

  constructor(dialect: Dialect) {
    this.#dialect = dialect
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
    return this.#fromBuilder(query, take)
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
    const textFor = tupleWriter(insert, this.#dialect)
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
  fromKnex({ sql, bindings = [], method = '', returning, options }: KnexQuery): Statement {
    return {
      sql,
      bindings: this.#builderBindings(bindings, sql),
      facts: this.#parseForKnex(sql),
      take: COUNTING_METHODS.has(method) && !returning ? 'count' : 'all',
      ...(hasProperties(options) && { driverOptions: options }),
    }
  }

  /**
   * Returns the bindings of a Knex builder in the driver's form. Knex refuses undefined values of a caller, but sets
   * undefined itself for a column that only some of several rows have: with `useNullAsDefault` it means NULL.
   *
   * @throws BindError when one cannot be bound
   */
  #builderBindings(bindings: readonly unknown[], sql: string): readonly unknown[] {
    return bindings.map((value, index) => {
      try {
        return this.#dialect.toDriverFromBuilder(value instanceof JsonValue ? value.text : (value ?? null))
      } catch (cause) {
        throw new BindError(`Value ${index + 1} of the builder ${messageOf(cause)}`, sql)
      }
    })
  }

  /** Parses SQL text, or returns the result of an earlier parse. */
  parse(sql: string): ParsedSql {
    return this.#parsed.getOrMake(sql, () => {
      if (sql.includes('\0')) {
        throw new QueryError(
          'The statement holds a NUL, where databases stop reading. Bind it as a value.',
          sql,
        )
      }
      return parseSql(sql, this.#dialect.lexicon)
    })
  }

  /**
   * Parses SQL that Knex hands over, which may be several statements where the driver runs them all.
   *
   * @throws BindError for several statements where the driver does not run them all
   * @throws ConfigurationError for an empty text, which Knex makes of `insert([])`
   */
  #parseForKnex(sql: string): ParsedSql {
    const parsed = this.parse(sql)
    refuseEmpty(parsed)
    if (parsed.isMultiStatement && !this.#dialect.runsMultiStatements) throw multiStatementError(sql)
    return parsed
  }

  #fromText(text: string, values: Values = {}, take: Take): Statement {
    const parsed = this.parse(text)
    const { names } = parsed
    if (parsed.foundPlaceholder !== null) {
      throw new BindError(
        `The statement holds the placeholder '${parsed.foundPlaceholder}'. Write :name and give its value under that name.`,
        text,
      )
    }
    refuseEmpty(parsed)
    if (parsed.isMultiStatement) throw multiStatementError(text)
    refuseMismatch(names, values, text)
    const constant = this.#constantTextOf(parsed)
    if (constant === null) return this.#withLists(parsed, values, text, take)
    const bindings = names.map((name) => this.#toDriver(name, values[name], text))
    return new BoundStatement(constant, bindings, parsed, take)
  }

  /** Returns the text for the driver, if it is the same for all values, so that it is made once; else null. */
  #constantTextOf(parsed: ParsedSql): string | null {
    let constant = this.#constantTexts.get(parsed)
    if (constant === undefined) {
      const { segments, names } = parsed
      const isConstant = segments.every((segment) => 'text' in segment || !segment.isList)
      const numbers = new Map(names.map((name, index) => [name, index + 1]))
      const texts = segments.map((segment) =>
        'text' in segment ? segment.text : this.#dialect.placeholder(numbers.get(segment.name) ?? NaN),
      )
      constant = isConstant ? texts.join('') : null
      this.#constantTexts.set(parsed, constant)
    }
    return constant
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

  #fromBuilder(query: Compilable, take: Take): Statement | KnexProgram {
    if (query.client?.transacting === true) {
      throw new ConfigurationError(
        'The builder belongs to a transaction of Knex (.transacting(trx)). Await it, or leave .transacting away ' +
          'and use database.transaction(): its queries join by themselves.',
      )
    }
    const compiled = compileBuilder(query)
    if (isProgram(compiled) || compiled.toNative === undefined) {
      return new KnexProgram(query as unknown as Knex.SchemaBuilder) // a schema builder, as toSQL() shows
    }
    // Builders of the same shape have the same text, so its placeholders are numbered only once.
    const sql = this.#nativeTexts.getOrMake(compiled.sql, () => compiled.toNative?.().sql ?? compiled.sql)
    const { options, timeout } = compiled
    const { client } = query
    const statement = new BoundStatement(
      sql,
      this.#builderBindings(compiled.bindings, sql),
      this.#parseForKnex(sql),
      take,
    )
    const isProcessed = client !== undefined && Boolean(client.config.postProcessResponse)
    if (!hasProperties(options) && !timeout && !isProcessed) return statement
    return Object.assign(statement, {
      ...(hasProperties(options) && { driverOptions: options }),
      ...(timeout && { timeoutMillis: timeout }),
      ...(isProcessed && {
        process: (response: unknown) => client.postProcessResponse(response, query.queryContext?.()),
      }),
    })
  }
}

/** Has Knex compile a builder, which fails if a binding is undefined or missing. */
function compileBuilder(query: Compilable): CompiledByKnex | readonly CompiledByKnex[] {
  try {
    return query.toSQL()
  } catch (cause) {
    throw new BindError(`Knex cannot make a statement of its builder: ${messageOf(cause)}`, '', { cause })
  }
}

/** Returns the error for a text of several statements. */
export function multiStatementError(text: string): BindError {
  return new BindError(
    'The text holds more than one statement. Run them one by one, in a transaction if need be.',
    text,
  )
}

function refuseEmpty({ verb }: ParsedSql): void {
  if (verb === '') throw new ConfigurationError('The query is empty: it holds no statement.')
}

/** Knex sets `options` to an empty object where the builder has none. */
function hasProperties(options: object | undefined): options is object {
  return options !== undefined && Object.keys(options).length > 0
}

function isProgram(
  compiled: CompiledByKnex | readonly CompiledByKnex[],
): compiled is readonly CompiledByKnex[] {
  return Array.isArray(compiled)
}

function isCompilable(query: unknown): query is Compilable {
  return typeof query === 'object' && query !== null && 'toSQL' in query && typeof query.toSQL === 'function'
}

/** Private parts of Knex's query builder. */
interface BuilderParts {
  readonly _method?: string
  readonly _statements?: readonly unknown[]
  readonly _single?: object
}

/** True for `knex('name')` and nothing more: an INSERT made of a longer builder would keep the table only. */
export function isTable(query: unknown): query is Knex.QueryBuilder {
  if (!isCompilable(query)) return false
  const { _method: method, _statements: statements, _single: single = {} } = query as BuilderParts
  const isBare = statements?.length === 0 && Object.keys(single).every((part) => TABLE_PARTS.includes(part))
  return method === 'select' && isBare
}

/** The properties of `_single` that name a table. */
const TABLE_PARTS = ['table', 'schema', 'only']
