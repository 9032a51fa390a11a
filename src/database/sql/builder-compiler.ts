/** Turns what Knex has compiled, or can compile, into a statement for the driver. */
import type { Knex } from 'knex'
import { BindError, ConfigurationError } from '../errors'
import { messageOf } from '../driver/driver-error'
import { BoundStatement, type ParsedSql, type Statement, type Take } from '../driver/statement'
import { emptyQueryError, multiStatementError } from './parser'
import { JsonValue } from './sql-tag'
import { TextCache } from './text-cache'

/** The part of a Knex builder by which its SQL is read without running it. */
export interface Compilable {
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

/** Methods for which Knex's SQLite dialect reads counts and ids instead of rows. */
const COUNTING_METHODS: ReadonlySet<string> = new Set(['insert', 'update', 'del', 'counter'])

/** The part of a dialect that is used here. */
interface BuilderDialect {
  /** True when the driver runs all statements of a text. */
  readonly runsMultiStatements: boolean
  /** Returns the value in the form in which the driver binds it without loss. */
  toDriverFromBuilder(value: unknown): unknown
}

/** The part of the compiler that is used here. */
interface SqlParser {
  /** Parses SQL text, or returns the result of an earlier parse. */
  parse(sql: string): ParsedSql
}

/** How many texts are kept. */
const CACHE_SIZE = 1000

export class BuilderCompiler {
  readonly #dialect: BuilderDialect
  readonly #parser: SqlParser
  /** SQL that Knex has compiled, with the driver's placeholders. */
  readonly #nativeTexts = new TextCache<string>(CACHE_SIZE)

  constructor(dialect: BuilderDialect, parser: SqlParser) {
    this.#dialect = dialect
    this.#parser = parser
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

  /**
   * Parses SQL that Knex hands over, which may be several statements where the driver runs them all.
   *
   * @throws BindError for several statements where the driver does not run them all
   * @throws ConfigurationError for an empty text, which Knex makes of `insert([])`
   */
  #parseForKnex(sql: string): ParsedSql {
    const parsed = this.#parser.parse(sql)
    if (parsed.verb === '') throw emptyQueryError()
    if (parsed.isMultiStatement && !this.#dialect.runsMultiStatements) throw multiStatementError(sql)
    return parsed
  }

  /** @throws ConfigurationError for a builder of a transaction of Knex */
  compile(query: Compilable, take: Take): Statement | KnexProgram {
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

/** Knex sets `options` to an empty object where the builder has none. */
function hasProperties(options: object | undefined): options is object {
  return options !== undefined && Object.keys(options).length > 0
}

function isProgram(
  compiled: CompiledByKnex | readonly CompiledByKnex[],
): compiled is readonly CompiledByKnex[] {
  return Array.isArray(compiled)
}

/** True for a Knex builder. */
export function isCompilable(query: unknown): query is Compilable {
  return typeof query === 'object' && query !== null && 'toSQL' in query && typeof query.toSQL === 'function'
}

/** Private parts of Knex's query builder. Tried with Knex 3.3. */
interface BuilderParts {
  readonly _method?: string
  readonly _statements?: { readonly grouping: string }[]
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

const READS = ['select', 'first', 'pluck']

/**
 * Returns a copy of a SELECT that columns can be added to, and conditions that hold for all of its rows. Returns null for
 * other builders, and for a union, of which a condition would concern the first part only.
 */
export function extensibleCopy(query: unknown): Knex.QueryBuilder | null {
  if (!isCompilable(query) || !('clone' in query)) return null
  const copy = (query as unknown as Knex.QueryBuilder).clone()
  const { _method: method = '', _statements: statements = [] } = copy as BuilderParts
  const has = (grouping: string): boolean => statements.some((one) => one.grouping === grouping)
  if (!READS.includes(method) || has('union')) return null
  if (!has('columns')) copy.select('*')
  if (has('where')) {
    // In parentheses, because `a OR b AND c` is `a OR (b AND c)`.
    const conditions = statements.filter(({ grouping }) => grouping === 'where')
    copy.clear('where').where((group) => void (group as BuilderParts)._statements?.push(...conditions))
  }
  return copy
}
