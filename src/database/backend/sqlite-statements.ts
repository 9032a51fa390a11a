/** Runs statements of SQLite so that their rows come back as the columns were declared, and with all of their digits. */
import { QueryError } from '../errors'
import type { Result, Row, Statement } from './dialect'
import type { Columns } from './sqlite-columns'
import {
  collapse,
  type Column,
  convert,
  hasLostDigits,
  lastOfEachName,
  roundedColumns,
  areDistinct,
  withDistinctColumns,
  withExactIntegers,
} from './sqlite-types'

export class TypedStatements {
  readonly #columns: Columns
  readonly #send: (statement: Statement) => Promise<Result>

  constructor(columns: Columns, send: (statement: Statement) => Promise<Result>) {
    this.#columns = columns
    this.#send = send
  }

  async run(statement: Statement): Promise<Result> {
    const isFitting = statement.asArrays !== true || this.#hasFittingColumns(statement)
    const sent = await this.#send(isFitting ? statement : await this.#withColumns(statement))
    if (sent.rows.length === 0) return sent
    const exact = hasLostDigits(sent.rows) ? await this.#readExactly(statement, sent) : sent
    const hasTypes = this.#columns.knowsTypes ?? (await this.#columns.hasTypes())
    if (hasTypes || exact !== sent) {
      const columns = (await this.#columnsOf(statement)) ?? []
      const isPlain = exact === sent && statement.asArrays !== true
      convert(exact.rows, isPlain ? lastOfEachName(columns) : columns)
      if (exact !== sent && statement.asArrays !== true) collapse(exact.rows as Row[], columns)
    }
    if (statement.asArrays !== true || statement.facts.isRead) return exact
    return { ...exact, rows: exact.rows.map((row) => Object.values(row as Row)) }
  }

  /** The common case of what {@link #withColumns} looks at, without having to wait for it. */
  #hasFittingColumns(statement: Statement): boolean {
    if (!statement.facts.isRead) return false
    const columns = this.#columns.known(statement)
    return columns === null || (columns !== undefined && areDistinct(columns))
  }

  #columnsOf(statement: Statement): Promise<readonly Column[] | null> | readonly Column[] | null {
    const known = this.#columns.known(statement)
    return known === undefined ? this.#columns.of(statement) : known
  }

  /** Rows as arrays need columns whose names are in order, and occur once. */
  async #withColumns(statement: Statement): Promise<Statement> {
    // The columns of a RETURNING are known by name only, so that its rows become arrays when they have been converted.
    const columns = await this.#columns.of(statement)
    if (!statement.facts.isRead) {
      if (columns !== null && !areDistinct(columns)) throw indistinct(statement.sql)
      return { ...statement, asArrays: false }
    }
    if (columns === null || areDistinct(columns)) return statement
    const current = (await this.#currentColumns(statement)) ?? columns
    return { ...statement, sql: withDistinctColumns(statement.sql, current) }
  }

  /** For a query that names them one by one, and so must not be mistaken about them. */
  async #currentColumns(statement: Statement): Promise<readonly Column[] | null> {
    await this.#columns.compare()
    return this.#columns.of(statement)
  }

  async #readExactly(statement: Statement, result: Result): Promise<Result> {
    const columns = await this.#currentColumns(statement)
    if (columns === null) return result
    if (statement.facts.isRead) {
      return this.#send({ ...statement, sql: withExactIntegers(statement.sql, columns) })
    }
    const [rounded] = roundedColumns(result.rows, columns)
    if (rounded === undefined) return result
    throw new QueryError(
      `The statement has run, but the ${rounded} that it returned is beyond 2^53, and the driver has rounded it. ` +
        `Write RETURNING CAST(${rounded} AS TEXT).`,
      statement.sql,
    )
  }
}

/** The driver gives rows as objects, and the rows of a RETURNING cannot be asked for in another way. */
function indistinct(sql: string): QueryError {
  return new QueryError(
    'The statement did not run: columns of its RETURNING have the same name, or names that are numbers, and the driver ' +
      'does not tell their order. Name them apart with AS, or ask for a column by its name.',
    sql,
  )
}
