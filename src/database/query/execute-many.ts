/** Divides the many sets of values of one executeMany into statements. */
import type { Knex } from 'knex'
import { rowsPerInsert } from '../sql/bulk-insert'
import type { Statement } from '../driver/statement'
import { type Compiler, isTable, KnexProgram, type Query, type Values } from '../sql/compiler'
import { waitAtMost } from '../context/watchdog'
import { ConfigurationError } from '../errors'
import type { Limits } from '../context/limits'

export interface Many {
  /** Whether one more set of values goes into the statement of those. */
  fits(this: void, chunk: readonly Values[], next: Values): boolean
  statementOf(this: void, chunk: readonly Values[]): Statement
}

/** @throws ConfigurationError for a query that cannot be run with sets of values */
export function manyOf(compiler: Compiler, query: Query): Many {
  if (typeof query === 'string') {
    const bulk = compiler.bulk(query)
    if (bulk !== null)
      return {
        fits: (chunk, next) => chunk.length < bulk.size && !isHeavy(next),
        statementOf: bulk.statementFor,
      }
    return { fits: () => false, statementOf: ([row]) => one(compiler, query, row) }
  }
  if (!isTable(query)) {
    throw new ConfigurationError("executeMany takes SQL with :names, or database.table('name').")
  }
  return { fits: fitsTogether, statementOf: (rows) => insert(compiler, query, rows) }
}

/** A larger set of values, in characters and bytes, begins a new statement: one statement has 1 GB at most. */
const HEAVY = 500_000

function isHeavy(values: Values): boolean {
  let size = 0
  for (const name in values) {
    const value = values[name]
    if (typeof value === 'string') size += value.length
    else if (ArrayBuffer.isView(value)) size += value.byteLength
  }
  return size > HEAVY
}

/**
 * Sets with other columns get a statement of their own, and those without any one each: what a set leaves out has the
 * column's default, and not every database can be asked for that in one row of several.
 */
function fitsTogether(chunk: readonly Values[], next: Values): boolean {
  const columns = columnsOf(chunk[0] ?? {})
  const others = columnsOf(next)
  if (columns.length === 0 || chunk.length >= rowsPerInsert(columns.length) || isHeavy(next)) return false
  return columns.length === others.length && columns.every((column) => others.includes(column))
}

function insert(compiler: Compiler, table: Knex.QueryBuilder, sets: readonly Values[]): Statement {
  const rows = sets.map((set) => Object.fromEntries(columnsOf(set).map((column) => [column, set[column]])))
  const [first] = rows
  const single = one(compiler, table.clone().insert(first))
  if (rows.length === 1) return single
  return { ...one(compiler, table.clone().insert(rows)), shownSql: single.sql, isPartOfBulk: true }
}

/** Without those that are undefined, which are left out as well. */
function columnsOf(row: Values): readonly string[] {
  if (typeof row !== 'object' || row === null || Array.isArray(row)) {
    throw new ConfigurationError('Each set of values is an object with a property for each column.')
  }
  return Object.keys(row).filter((column) => row[column] !== undefined)
}

function one(compiler: Compiler, query: Query, row?: Values): Statement {
  const statement = compiler.compile(query, row, { take: 'count' })
  if (statement instanceof KnexProgram) {
    throw new ConfigurationError('A schema builder takes no values. Run it by execute(), or await it.')
  }
  return statement
}

/** Divides values as they come, so that no more of them are held than one statement takes. */
export class Chunks<T> {
  readonly #values: Iterable<T> | AsyncIterable<T>
  readonly #fits: (chunk: readonly T[], next: T) => boolean
  readonly #limits: Limits
  #isGivenUp = false
  #refuse: (error: unknown) => void = noop

  constructor(
    values: Iterable<T> | AsyncIterable<T>,
    fits: (chunk: readonly T[], next: T) => boolean,
    limits: Limits,
  ) {
    this.#values = values
    this.#fits = fits
    this.#limits = limits
  }

  /** Has whoever waits for the next chunk fail, even where the source never gives its values. */
  giveUp(error: unknown): void {
    this.#isGivenUp = true
    this.#refuse(error)
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<readonly T[]> {
    const values = this.#values
    if (Symbol.asyncIterator in values) {
      yield* this.#arriving(values[Symbol.asyncIterator]())
      return
    }
    const stopWatching = this.#watch()
    try {
      let chunk: T[] = []
      // Not `for await`, which waits for each: with an array that is most of the time.
      for (const one of values) {
        const value = one instanceof Promise ? await this.#unlessGivenUp(one as Promise<T>) : one
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
      this.giveUp(this.#limits.error(expiry))
    })
  }

  /** The same as that promise, unless {@link giveUp} comes first. */
  #unlessGivenUp<V>(work: Promise<V>): Promise<V> {
    return new Promise<V>((resolve, reject) => {
      this.#refuse = reject
      work.then(resolve, reject)
    })
  }

  /** A source that gives none is not waited for beyond the limits. */
  async *#arriving(source: AsyncIterator<T>): AsyncGenerator<readonly T[]> {
    const stopWatching = this.#watch()
    try {
      let chunk: T[] = []
      for (;;) {
        // Watched over as a whole: to do so for each value would take as long as all the rest.
        const beyond = await this.#unlessGivenUp(this.#fill(chunk, source))
        if (chunk.length > 0) yield chunk
        if (beyond === null) return
        chunk = [beyond.value]
      }
    } finally {
      stopWatching()
      const closing = Promise.resolve(source.return?.()).catch(noop)
      // One that is stuck is not closed either, and may be so for ever.
      await (this.#isGivenUp ? waitAtMost(PATIENCE_MILLIS, closing) : closing)
    }
  }

  /** Returns the value that goes into the next chunk, or null at the end. */
  async #fill(chunk: T[], source: AsyncIterator<T>): Promise<{ readonly value: T } | null> {
    for (;;) {
      this.#limits.check()
      const { done, value } = await source.next()
      if (done === true || this.#isGivenUp) return null
      if (chunk.length > 0 && !this.#fits(chunk, value)) return { value }
      chunk.push(value)
    }
  }
}

const noop = (): void => undefined

/** How long a source that was given up has to close itself. */
const PATIENCE_MILLIS = 50
