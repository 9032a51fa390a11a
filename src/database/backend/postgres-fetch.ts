/** Reads the next rows of a cursor on PostgreSQL. pg's own Query would describe the columns anew for every piece. */
import type { FieldDef } from 'pg'
import type { Row } from './dialect'
import type { Connected } from './postgres-prepared-query'
import { type Columns, toColumns, toRow } from './postgres-rows'

/** Rows in the first piece, and in the largest: more gain nothing. */
const FIRST_PIECE = 256
const LARGEST_PIECE = 1000
/** Bytes in a piece, beyond which rows are so heavy that fewer are asked for. */
const HEAVY_PIECE = 1_000_000

/** One cursor, whose columns are the same from its first row to its last. */
export class Fetching {
  isAtEnd = false
  readonly #raw: Connected
  readonly #name: string
  #columns: Columns | null = null
  #worthwhile = FIRST_PIECE

  constructor(raw: Connected, name: string) {
    this.#raw = raw
    this.#name = name
  }

  /** The next rows: at most `most`, or as many as are worth a journey. */
  async next(most: number | null): Promise<readonly Row[]> {
    const count = most ?? this.#worthwhile
    const { rows, bytes } = await new Promise<Fetched>((resolve, reject) => {
      const columnsOf = (fields: readonly FieldDef[]): Columns =>
        (this.#columns ??= toColumns(this.#raw, fields))
      this.#raw.query(
        new FetchQuery(`FETCH ${count} FROM ${this.#name}`, columnsOf, (error, fetched) => {
          if (error === null) resolve(fetched)
          else reject(error)
        }),
      )
    })
    this.isAtEnd = rows.length < count
    const light = Math.floor((HEAVY_PIECE * rows.length) / Math.max(1, bytes))
    this.#worthwhile = Math.max(1, Math.min(2 * count, LARGEST_PIECE, light))
    return rows
  }
}

/** A message of pg's. */
interface DataRow {
  readonly fields: readonly (string | null)[]
  readonly length: number
}

interface Fetched {
  readonly rows: readonly Row[]
  readonly bytes: number
}

const NOTHING: Fetched = { rows: [], bytes: 0 }

/** What pg's Client hands the server's answers to: https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SIMPLE-QUERY */
class FetchQuery {
  readonly #sql: string
  readonly #columnsOf: (fields: readonly FieldDef[]) => Columns
  /** Under the name by which pg finds it, to put an end to its own `query_timeout`. */
  readonly callback: (error: Error | null, fetched: Fetched) => void
  readonly #rows: Row[] = []
  #bytes = 0
  #columns: Columns | null = null
  /** What a parser of one of its values threw. */
  #failure: Error | null = null

  constructor(
    sql: string,
    columnsOf: (fields: readonly FieldDef[]) => Columns,
    callback: FetchQuery['callback'],
  ) {
    this.#sql = sql
    this.#columnsOf = columnsOf
    this.callback = callback
  }

  submit(wire: { query(text: string): void }): null {
    wire.query(this.#sql)
    return null
  }

  handleRowDescription({ fields }: { readonly fields: readonly FieldDef[] }): void {
    this.#columns = this.#columnsOf(fields)
  }

  handleDataRow({ fields, length }: DataRow): void {
    this.#bytes += length
    if (this.#columns === null || this.#failure !== null) return
    try {
      this.#rows.push(toRow(fields, this.#columns))
    } catch (error) {
      this.#failure = error instanceof Error ? error : new Error(String(error), { cause: error })
    }
  }

  handleCommandComplete(): void {}

  handleError(error: Error): void {
    this.callback(error, NOTHING)
  }

  handleReadyForQuery(): void {
    this.callback(this.#failure, { rows: this.#rows, bytes: this.#bytes })
  }
}
