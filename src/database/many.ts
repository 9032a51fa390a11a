/** Divides the many sets of values of one executeMany into statements. */
import type { Knex } from 'knex'
import { rowsPerInsert } from './backend/bulk-insert'
import type { Statement } from './backend/dialect'
import { type Compiler, isTable, KnexProgram, type Query, type Values } from './backend/statement'
import { ConfigurationError, type DatabaseError } from './errors'
import type { Limits } from './limits'

export interface Many {
  /** Whether one more set of values goes into the statement of those. */
  fits(this: void, chunk: readonly Values[], next: Values): boolean
  statementOf(this: void, chunk: readonly Values[]): Statement
}

/** @throws ConfigurationError for a query that cannot be run with sets of values */
export function manyOf(compiler: Compiler, query: Query): Many {
  if (typeof query === 'string') {
    const bulk = compiler.bulk(query)
    if (bulk !== null) return { fits: (chunk) => chunk.length < bulk.size, statementOf: bulk.of }
    return { fits: () => false, statementOf: ([row]) => one(compiler, query, row) }
  }
  if (!isTable(query)) {
    throw new ConfigurationError("executeMany takes SQL with :names, or database.table('name').")
  }
  return { fits: fitsTogether, statementOf: (rows) => insert(compiler, query, rows) }
}

/**
 * Sets with other columns get a statement of their own, and those without any one each: what a set leaves out has the
 * column's default, and not every database can be asked for that in one row of several.
 */
function fitsTogether(chunk: readonly Values[], next: Values): boolean {
  const columns = columnsOf(chunk[0] ?? {})
  const others = columnsOf(next)
  if (columns.length === 0 || chunk.length >= rowsPerInsert(columns.length)) return false
  return columns.length === others.length && columns.every((column) => others.includes(column))
}

function insert(compiler: Compiler, table: Knex.QueryBuilder, sets: readonly Values[]): Statement {
  const rows = sets.map((set) => Object.fromEntries(columnsOf(set).map((column) => [column, set[column]])))
  const [first] = rows
  const single = one(compiler, table.clone().insert(first))
  if (rows.length === 1) return single
  return { ...one(compiler, table.clone().insert(rows)), shownSql: single.sql, isOneOfMany: true }
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
export async function* inChunks<T>(
  values: Iterable<T> | AsyncIterable<T>,
  fits: (chunk: readonly T[], next: T) => boolean,
  limits: Limits,
): AsyncGenerator<readonly T[]> {
  let chunk: T[] = []
  const add = (value: T): readonly T[] | null => {
    const full = chunk.length > 0 && !fits(chunk, value) ? chunk : null
    if (full === null) chunk.push(value)
    else chunk = [value]
    return full
  }
  if (Symbol.asyncIterator in values) {
    for await (const value of untilLate(values, limits)) {
      const full = add(value)
      if (full !== null) yield full
    }
  } else {
    // Not `for await`, which waits for each: with an array that is most of the time.
    for (const value of values) {
      const full = add(value instanceof Promise ? ((await value) as T) : value)
      if (full !== null) yield full
    }
  }
  if (chunk.length > 0) yield chunk
}

/** The same values, but a source that gives none is not waited for beyond the limits. */
async function* untilLate<T>(values: AsyncIterable<T>, limits: Limits): AsyncGenerator<T> {
  const source = values[Symbol.asyncIterator]()
  let giveUp = (_error: DatabaseError): void => undefined
  let isLate = false
  const stopWatching = limits.watch((expiry) => {
    isLate = true
    giveUp(limits.error(expiry))
  })
  try {
    for (;;) {
      limits.check()
      const next = await new Promise<IteratorResult<T, unknown>>((resolve, reject) => {
        giveUp = reject
        source.next().then(resolve, reject)
      })
      if (next.done === true) return
      yield next.value
    }
  } finally {
    stopWatching()
    const closing = Promise.resolve(source.return?.()).catch(() => undefined)
    // One that is stuck would not be closed either.
    if (!isLate) await closing
  }
}
