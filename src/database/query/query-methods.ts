/** The six query methods, shared by Database, Connection and Transaction. */
import type { Backend } from './backend'
import {
  type Access,
  type Result,
  type Row,
  shownSql,
  type Statement,
  WRITE,
  type Take,
} from '../driver/statement'
import type { StreamSource, Work } from '../pool/lease'
import { KnexProgram } from '../sql/builder-compiler'
import { type Query, SqlQuery, type Values } from '../sql/sql-tag'
import { multiStatementError } from '../sql/parser'
import type { StandardSchema } from '../sql/standard-schema'
import { ConfigurationError } from '../errors'
import { Limits } from '../context/limits'
import { Chunks, chunkPlanOf } from './execute-many'
import type { ColumnOf, KnownColumns, RowOf, ValueOf, ValuesFor } from './inferred-rows'
import {
  checkOptions,
  type ExecuteResult,
  QUERY_OPTIONS,
  type Queryable,
  type QueryOptions,
  type SchemaOption,
  type Transaction,
  type TransactionOptions,
} from './queryable'
import { checkRow, checkRows } from './row-schema'
import { RowStream } from './row-stream'

const ALL: Take = { take: 'all' }
const FIRST: Take = { take: 'first' }
const FETCH_OPTIONS = [...QUERY_OPTIONS, 'schema', 'column'] as const

interface FetchOptions extends QueryOptions {
  readonly schema?: StandardSchema
}

export abstract class QueryMethods implements Queryable {
  protected abstract readonly backend: Backend

  /** Lends the connection to `work` when it is its turn. */
  protected abstract use<T>(limits: Limits, access: Access, work: Work<T>): Promise<T>
  /** Returns where a stream reads its rows, decided now, in the caller's scope. */
  protected abstract streamSource(limits: Limits): StreamSource
  abstract transaction<T>(work: (tx: Transaction) => Promise<T>, options?: TransactionOptions): Promise<T>
  abstract begin(options?: TransactionOptions): Promise<Transaction>

  fetchAll<T, Q extends Query = Query>(
    query: Q & KnownColumns<Q>,
    values: Values | undefined,
    options: QueryOptions & SchemaOption<T>,
  ): Promise<T[]>
  fetchAll<R extends object = Row, Q extends Query = Query>(
    query: Q & KnownColumns<Q>,
    values?: Values,
    options?: QueryOptions,
  ): Promise<RowOf<Q, R>[]>
  async fetchAll(query: Query, values?: Values, options?: FetchOptions): Promise<unknown> {
    const statement = this.#compile(query, values, ALL)
    const schema = schemaOf(query, options)
    const { rows } = await this.#run(statement, options)
    const processed = statement.process === undefined ? rows : statement.process(rows)
    return schema === undefined ? processed : checkRows(schema, processed as unknown[], statement.sql)
  }

  fetchOne<T, Q extends Query = Query>(
    query: Q & KnownColumns<Q>,
    values: Values | undefined,
    options: QueryOptions & SchemaOption<T>,
  ): Promise<T | null>
  fetchOne<R extends object = Row, Q extends Query = Query>(
    query: Q & KnownColumns<Q>,
    values?: Values,
    options?: QueryOptions,
  ): Promise<RowOf<Q, R> | null>
  async fetchOne(query: Query, values?: Values, options?: FetchOptions): Promise<unknown> {
    const statement = this.#compile(query, values, FIRST)
    const schema = schemaOf(query, options)
    const { rows } = await this.#run(statement, options)
    if (rows.length === 0) return null
    const row = statement.process === undefined ? rows[0] : statement.process(rows[0])
    return schema === undefined ? row : checkRow(schema, row, 1, statement.sql)
  }

  fetchVal<T, Q extends Query = Query>(
    query: Q & KnownColumns<Q>,
    values: Values | undefined,
    options: QueryOptions & SchemaOption<T> & { readonly column?: ColumnOf<Q> },
  ): Promise<T | null>
  fetchVal<T = unknown, Q extends Query = Query, C extends ColumnOf<Q> = ColumnOf<Q>>(
    query: Q & KnownColumns<Q>,
    values?: Values,
    options?: QueryOptions & { readonly column?: C },
  ): Promise<ValueOf<Q, T, C> | null>
  async fetchVal(
    query: Query,
    values?: Values,
    options?: FetchOptions & { readonly column?: string | number },
  ): Promise<unknown> {
    const column = options?.column ?? 0
    const take: Take = { take: 'first', asArrays: typeof column === 'number' }
    const statement = this.#compile(query, values, take)
    const schema = schemaOf(query, options)
    const { rows } = await this.#run(statement, options)
    if (rows.length === 0) return null
    // `process` may rename columns, which does not concern a column given by its index.
    const row =
      typeof column === 'number' || statement.process === undefined ? rows[0] : statement.process(rows[0])
    if (typeof row !== 'object' || row === null || !Object.hasOwn(row, column)) {
      const has = Array.isArray(row)
        ? `${row.length} columns, counted from 0`
        : Object.keys(row as object).join(', ')
      throw new ConfigurationError(`The result has no column ${JSON.stringify(column)}: it has ${has}.`)
    }
    const value = (row as Record<string | number, unknown>)[column] ?? null
    return schema === undefined ? value : checkRow(schema, value, 1, statement.sql, column)
  }

  async execute(query: Query, values?: Values, options?: QueryOptions): Promise<ExecuteResult> {
    const statement = this.backend.compiler.compile(query, values, { take: 'count' })
    const limits = Limits.of(checkOptions(options, QUERY_OPTIONS), sqlOrTitle(statement))
    if (statement instanceof KnexProgram) {
      await this.use(limits, WRITE, (lease) => this.backend.runProgram(statement.builder, lease))
      return { rowCount: 0, lastInsertId: null }
    }
    const { rowCount, lastInsertId } = await this.use(limits, statement.facts, (lease, bounded) =>
      lease.run(statement, bounded),
    )
    return { rowCount, lastInsertId }
  }

  /**
   * Reads the values as they are needed, some hundreds at a time, so that a generator's values are never all in memory.
   * `query` is SQL with `:names`, or `database.table('name')`, where a column that a set leaves out gets its default.
   * An `INSERT … VALUES (…)` of names alone inserts hundreds of sets in one statement; any other statement runs once for
   * each set of values.
   */
  async executeMany<Q extends Query>(
    query: Q,
    values: Iterable<ValuesFor<Q>> | AsyncIterable<ValuesFor<Q>>,
    options?: QueryOptions,
  ): Promise<{ rowCount: number }> {
    checkOptions(options, QUERY_OPTIONS)
    const { fits, statementOf } = chunkPlanOf(this.backend.compiler, query)
    if (!isIterable(values))
      throw new ConfigurationError(
        'executeMany takes an iterable of values, such as an array or a generator.',
      )
    const limits = Limits.of(options, typeof query === 'string' ? query : 'executeMany')
    return this.transaction(async (tx) => {
      const chunks = new Chunks(values, fits, limits)
      let rowCount = 0
      let running = Promise.resolve(0)
      // While the database works on one chunk, the next one is read.
      for await (const chunk of chunks) {
        const statement = statementOf(chunk)
        rowCount += await running
        running = this.#runChunk(tx, statement)
        running.catch((error: unknown) => {
          chunks.abort(error)
        })
      }
      return { rowCount: rowCount + (await running) }
    }, options)
  }

  async #runChunk(tx: Transaction, statement: Statement): Promise<number> {
    // Every transaction extends this class; the public interface `Transaction` does not show it.
    if (!(tx instanceof QueryMethods)) throw new TypeError('not a transaction of this library')
    const limits = Limits.of(undefined, shownSql(statement))
    const { rowCount } = await tx.use(limits, WRITE, (lease, bounded) => lease.run(statement, bounded))
    return rowCount
  }

  iterate<T, Q extends Query = Query>(
    query: Q & KnownColumns<Q>,
    values: Values | undefined,
    options: QueryOptions & SchemaOption<T> & { readonly batchSize?: number },
  ): AsyncIterableIterator<T>
  iterate<R extends object = Row, Q extends Query = Query>(
    query: Q & KnownColumns<Q>,
    values?: Values,
    options?: QueryOptions & { readonly batchSize?: number },
  ): AsyncIterableIterator<RowOf<Q, R>>
  iterate(
    query: Query,
    values?: Values,
    options?: FetchOptions & { readonly batchSize?: number },
  ): AsyncIterableIterator<unknown> {
    const statement = this.#compile(query, values, ALL)
    if (statement.facts.isMultiStatement) throw multiStatementError(statement.sql)
    checkOptions(options, [...QUERY_OPTIONS, 'schema', 'batchSize'])
    const batchSize = options?.batchSize ?? null
    if (batchSize !== null && (!Number.isInteger(batchSize) || batchSize < 1)) {
      throw new ConfigurationError(`batchSize is a whole number from 1 up, got ${String(batchSize)}.`)
    }
    const schema = schemaOf(query, options)
    const limits = Limits.of(options, statement.sql)
    return new RowStream(this.streamSource(limits), statement, limits, batchSize, schema)
  }

  #compile(query: Query, values: Values | undefined, take: Take): Statement {
    const statement = this.backend.compiler.compile(query, values, take)
    if (statement instanceof KnexProgram) throw schemaBuilderError()
    return statement
  }

  #run(statement: Statement, options: QueryOptions | undefined): Promise<Result> {
    const limits = Limits.of(options && checkOptions(options, FETCH_OPTIONS), statement.sql)
    return this.use(limits, statement.facts, (lease, bounded) => lease.run(statement, bounded))
  }
}

/**
 * Returns the schema of a call: the option's, else the query's own, else undefined.
 *
 * @throws ConfigurationError for an option that is no Standard Schema
 */
function schemaOf(query: Query, options: FetchOptions | undefined): StandardSchema | undefined {
  const schema = options?.schema ?? (query instanceof SqlQuery ? query.schema : undefined)
  if (schema === undefined || typeof schema['~standard']?.validate === 'function') return schema
  throw new ConfigurationError('A schema is a Standard Schema, such as those of Zod, Valibot and ArkType.')
}

function sqlOrTitle(statement: Statement | KnexProgram): string {
  return statement instanceof KnexProgram ? 'a schema change' : statement.sql
}

function schemaBuilderError(): ConfigurationError {
  return new ConfigurationError('A schema builder has no rows. Run it by execute(), or await it.')
}

function isIterable(values: unknown): boolean {
  return (
    typeof values === 'object' &&
    values !== null &&
    (Symbol.iterator in values || Symbol.asyncIterator in values)
  )
}
