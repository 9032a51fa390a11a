/** Runs statements of SQLite so that their rows come back as the columns were declared, and with all of their digits. */
import { QueryError } from '../errors'
import type { Result, Row, Statement } from './dialect'
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

/** What it takes from the session. */
export interface Source {
  send(this: void, statement: Statement): Promise<Result>
  columnsOf(this: void, statement: Statement): Promise<readonly Column[] | null>
  /** Whether any column of the database has a type that SQLite has not. */
  hasTypes(this: void): Promise<boolean>
}

export class TypedStatements {
  readonly #source: Source

  constructor(source: Source) {
    this.#source = source
  }

  async run(statement: Statement): Promise<Result> {
    const sent = await this.#source.send(await this.#withColumns(statement))
    if (sent.rows.length === 0) return sent
    const exact = hasLostDigits(sent.rows) ? await this.#readExactly(statement, sent) : sent
    if (await this.#source.hasTypes()) {
      const columns = (await this.#source.columnsOf(statement)) ?? []
      const isPlain = exact === sent && statement.asArrays !== true
      convert(exact.rows, isPlain ? lastOfEachName(columns) : columns)
      if (exact !== sent && statement.asArrays !== true) collapse(exact.rows as Row[], columns)
    }
    if (statement.asArrays !== true || statement.facts.isRead) return exact
    return { ...exact, rows: exact.rows.map((row) => Object.values(row as Row)) }
  }

  /** Rows as arrays need columns whose names are in order, and occur once. */
  async #withColumns(statement: Statement): Promise<Statement> {
    if (statement.asArrays !== true) return statement
    // The columns of a RETURNING are known by name only, so that its rows become arrays when they have been converted.
    const columns = await this.#source.columnsOf(statement)
    if (!statement.facts.isRead) {
      if (columns !== null && !areDistinct(columns)) throw indistinct(statement.sql)
      return { ...statement, asArrays: false }
    }
    return columns === null ? statement : { ...statement, sql: withDistinctColumns(statement.sql, columns) }
  }

  async #readExactly(statement: Statement, result: Result): Promise<Result> {
    const columns = await this.#source.columnsOf(statement)
    if (columns === null) return result
    if (statement.facts.isRead) {
      return this.#source.send({ ...statement, sql: withExactIntegers(statement.sql, columns) })
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
