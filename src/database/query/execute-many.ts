/** Divides the sets of values of one executeMany into statements. */
import type { Knex } from 'knex'
import { rowsPerInsert } from '../sql/bulk-insert'
import type { Statement } from '../driver/statement'
import { isTable, KnexProgram } from '../sql/builder-compiler'
import type { Compiler } from '../sql/compiler'
import type { Query, Values } from '../sql/sql-tag'
import { waitAtMost } from '../context/timers'
import { ConfigurationError } from '../errors'
import type { Limits } from '../context/limits'

export interface ChunkPlan {
  /** Returns whether `next` may join the chunk, which becomes one statement. */
  fits(this: void, chunk: readonly Values[], next: Values): boolean
  statementOf(this: void, chunk: readonly Values[]): Statement
}

/** @throws ConfigurationError for a query that cannot be run with sets of values */
export function chunkPlanOf(compiler: Compiler, query: Query): ChunkPlan {
  if (typeof query === 'string') {
    const bulk = compiler.bulk(query)
    if (bulk !== null)
      return {
        fits: (chunk, next) => chunk.length < bulk.size && !isLarge(next),
        statementOf: bulk.statementFor,
      }
    return { fits: () => false, statementOf: ([row]) => compileOne(compiler, query, row) }
  }
  if (!isTable(query)) {
    throw new ConfigurationError("executeMany takes SQL with :names, or database.table('name').")
  }
  return { fits: fitsTogether, statementOf: (rows) => insert(compiler, query, rows) }
}

/** A larger set of values, counted in characters and bytes, starts a new statement: a statement has at most 1 GB. */
const LARGE_SET_SIZE = 500_000

function isLarge(values: Values): boolean {
  let size = 0
  for (const name in values) {
    const value = values[name]
    if (typeof value === 'string') size += value.length
    else if (ArrayBuffer.isView(value)) size += value.byteLength
  }
  return size > LARGE_SET_SIZE
}

/**
 * Returns whether `next` may join the INSERT of the chunk: it names the same columns, and the statement is not too large.
 * A column that a set leaves out gets its default, and not every database can do that for one row of several, so other
 * columns need another statement. A set without columns gets a statement of its own.
 */
function fitsTogether(chunk: readonly Values[], next: Values): boolean {
  const columns = columnsOf(chunk[0] ?? {})
  const others = columnsOf(next)
  if (columns.length === 0 || chunk.length >= rowsPerInsert(columns.length) || isLarge(next)) return false
  return columns.length === others.length && columns.every((column) => others.includes(column))
}

function insert(compiler: Compiler, table: Knex.QueryBuilder, sets: readonly Values[]): Statement {
  const rows = sets.map((set) => Object.fromEntries(columnsOf(set).map((column) => [column, set[column]])))
  const [first] = rows
  const single = compileOne(compiler, table.clone().insert(first))
  if (rows.length === 1) return single
  return { ...compileOne(compiler, table.clone().insert(rows)), shownSql: single.sql, isPartOfBulk: true }
}

/** Returns the names of the columns. An undefined value counts as left out. */
function columnsOf(row: Values): readonly string[] {
  if (typeof row !== 'object' || row === null || Array.isArray(row)) {
    throw new ConfigurationError('Each set of values is an object with a property for each column.')
  }
  return Object.keys(row).filter((column) => row[column] !== undefined)
}

function compileOne(compiler: Compiler, query: Query, row?: Values): Statement {
  const statement = compiler.compile(query, row, { take: 'count' })
  if (statement instanceof KnexProgram) {
    throw new ConfigurationError('A schema builder takes no values. Run it by execute(), or await it.')
  }
  return statement
}

/** Divides values as they arrive, so that only the values of one statement are in memory. */
export class Chunks<T> {
  readonly #values: Iterable<T> | AsyncIterable<T>
  readonly #fits: (chunk: readonly T[], next: T) => boolean
  readonly #limits: Limits
  #isAborted = false
  #rejectPending: (error: unknown) => void = noop

  constructor(
    values: Iterable<T> | AsyncIterable<T>,
    fits: (chunk: readonly T[], next: T) => boolean,
    limits: Limits,
  ) {
    this.#values = values
    this.#fits = fits
    this.#limits = limits
  }

  /** Rejects the pending wait for values, even if the source never delivers them. */
  abort(error: unknown): void {
    this.#isAborted = true
    this.#rejectPending(error)
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<readonly T[]> {
    const values = this.#values
    if (Symbol.asyncIterator in values) {
      yield* this.#chunksOf(values[Symbol.asyncIterator]())
      return
    }
    const stopWatching = this.#watch()
    try {
      let chunk: T[] = []
      // `for await` would await each value: with an array that takes most of the time.
      for (const item of values) {
        const value = item instanceof Promise ? await this.#orAbort(item as Promise<T>) : item
        if (chunk.length > 0 && !this.#fits(chunk, value)) {
          yield chunk
          chunk = []
        }
        chunk.push(value)
      }
      if (chunk.length > 0) yield chunk
    } finally {
      stopWatching()
    }
  }

  #watch(): () => void {
    return this.#limits.watch((expiry) => {
      this.abort(this.#limits.error(expiry))
    })
  }

  /** Settles as `work` does, or rejects when {@link abort} is called first. */
  #orAbort<V>(work: Promise<V>): Promise<V> {
    return new Promise<V>((resolve, reject) => {
      this.#rejectPending = reject
      work.then(resolve, reject)
    })
  }

  /** Divides the values of an async source, and stops waiting for it at the limits. */
  async *#chunksOf(source: AsyncIterator<T>): AsyncGenerator<readonly T[]> {
    const stopWatching = this.#watch()
    try {
      let chunk: T[] = []
      for (;;) {
        // The limits are watched once per chunk: once per value would double the time.
        const next = await this.#orAbort(this.#fill(chunk, source))
        if (chunk.length > 0) yield chunk
        if (next === null) return
        chunk = [next.value]
      }
    } finally {
      stopWatching()
      const closing = Promise.resolve(source.return?.()).catch(noop)
      // A stuck source may never close.
      await (this.#isAborted ? waitAtMost(SOURCE_CLOSE_MILLIS, closing) : closing)
    }
  }

  /** Fills the chunk. Returns the first value of the next chunk, or null at the end. */
  async #fill(chunk: T[], source: AsyncIterator<T>): Promise<{ readonly value: T } | null> {
    for (;;) {
      this.#limits.check()
      const { done, value } = await source.next()
      if (done === true || this.#isAborted) return null
      if (chunk.length > 0 && !this.#fits(chunk, value)) return { value }
      chunk.push(value)
    }
  }
}

const noop = (): void => undefined

/** How long an aborted source may take to close itself. */
const SOURCE_CLOSE_MILLIS = 50
