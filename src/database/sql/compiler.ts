/** Turns SQL with `:names`, a sql`…` query or a Knex builder into a statement for the driver. */
import type { Knex } from 'knex'
import { BindError, ConfigurationError, QueryError } from '../errors'
import { JsonValue, SqlQuery } from './sql-tag'
import { bulkInsertOf, rowsPerInsert, tupleWriter } from './bulk-insert'
import type { Dialect } from '../driver/dialect'
import type { Statement } from '../driver/statement'
import { messageOf } from '../driver/driver-error'
import { parseSql } from './parser'
import type { ParsedSql } from '../driver/parsed-sql'
import { TextCache } from './text-cache'
import { type Take, BoundStatement } from './bound-statement'
import { typeName, refuseMismatch, refuseValues, type Values } from './bind-values'

/** SQL text with `:names`, a sql`…` query, or a Knex builder. */
export type Query = string | SqlQuery | Knex.QueryBuilder | Knex.Raw | Knex.SchemaBuilder
export type { Values } from './bind-values'

/** Where the text can be asked for without running anything. */
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

export type { Take } from './bound-statement'

/** A compiled query as it goes through Knex; `response` and `context` are what its dialects read back. */
export interface KnexQuery {
  sql: string
  bindings?: readonly unknown[]
  /** Left out where Knex itself has written the text: BEGIN, SAVEPOINT, COMMIT and the like. */
  method?: string
  returning?: unknown
  options?: object
  /** What `.timeout(ms)` asks for. */
  timeout?: number | false
  cancelOnTimeout?: boolean
  response?: unknown
  context?: unknown
}

/** A builder that needs Knex itself to run it: several statements, or work between them. */
export class KnexProgram {
  constructor(readonly builder: Knex.SchemaBuilder) {}
}

/** How many texts are parsed only once. */
const CACHE_SIZE = 1000

/** Methods for which Knex's SQLite dialect reads counts and ids instead of rows. */
const COUNTING_METHODS: ReadonlySet<string> = new Set(['insert', 'update', 'del', 'counter'])

export class Compiler {
  readonly #dialect: Dialect
  readonly #parsed = new TextCache<ParsedSql>(CACHE_SIZE)
  /** Texts whose placeholders do not depend on the values, with the driver's placeholders in them. */
  readonly #constantTexts = new WeakMap<ParsedSql, string | null>()
  /** The same for what Knex has compiled. */
  readonly #nativeTexts = new TextCache<string>(CACHE_SIZE)

  constructor(dialect: Dialect) {
    this.#dialect = dialect
  }

  /**
   * @throws BindError when values and placeholders do not match, or a value cannot be bound
   * @throws ConfigurationError when the query is none, or is bound to a transaction of Knex's own
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
   * For many sets of values at once: how many go into one statement, and that statement. Null when the text must be
   * run once for each.
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

  /** A statement of our own, such as COMMIT. */
  plain(sql: string, take: Take = { take: 'count' }): Statement {
    return new BoundStatement(sql, [], this.parse(sql), take)
  }

  /**
   * What Knex itself has compiled and is about to run.
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
   * The bindings of a Knex builder as the driver takes them. Knex refuses what a caller leaves undefined, but writes
   * undefined itself for a column that a row of several has not: NULL, where it is told `useNullAsDefault`.
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
   * The same for a text that Knex hands over, which may be several statements where the driver runs them all.
   *
   * @throws BindError where it does not
   * @throws ConfigurationError when there is none: Knex makes no text of `insert([])`
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

  /** The text for the driver where it is the same whatever the values are, so that it is written once. */
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
      return new KnexProgram(query as unknown as Knex.SchemaBuilder) // what toSQL() says, its type cannot
    }
    // A builder of the same shape has the same text, so that its placeholders need be numbered only once.
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

/** Knex finds out only now that a binding is undefined, or that there are too few of them. */
function compileBuilder(query: Compilable): CompiledByKnex | readonly CompiledByKnex[] {
  try {
    return query.toSQL()
  } catch (cause) {
    throw new BindError(`Knex cannot make a statement of its builder: ${messageOf(cause)}`, '', { cause })
  }
}

/** @throws BindError for a text of several statements, where only one can be meant */
export function multiStatementError(text: string): BindError {
  return new BindError(
    'The text holds more than one statement. Run them one by one, in a transaction if need be.',
    text,
  )
}

function refuseEmpty({ verb }: ParsedSql): void {
  if (verb === '') throw new ConfigurationError('The query is empty: it holds no statement.')
}

/** Knex gives an empty object where nobody has asked for any. */
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

/** What a builder consists of. */
interface BuilderParts {
  readonly _method?: string
  readonly _statements?: readonly unknown[]
  readonly _single?: object
}

/** Whether a builder is `knex('name')` and nothing more: of anything else an INSERT would keep the table only. */
export function isTable(query: unknown): query is Knex.QueryBuilder {
  if (!isCompilable(query)) return false
  const { _method: method, _statements: statements, _single: single = {} } = query as BuilderParts
  const isBare = statements?.length === 0 && Object.keys(single).every((part) => TABLE_PARTS.includes(part))
  return method === 'select' && isBare
}

/** The parts of a name. */
const TABLE_PARTS = ['table', 'schema', 'only']
