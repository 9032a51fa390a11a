/** One run of a prepared statement on a connection to PostgreSQL. */
import type pg from 'pg'
import type { Statement } from '../driver/statement'
import type { SessionTypeParsers } from './array-types'
import { type Columns, NO_COLUMNS, PreparedResult, toColumns, toRow, toRowArray } from './row-decoder'

export interface CachedStatement {
  readonly sql: string
  readonly name: Buffer
  /** True while the server has the statement under this name. */
  isParsed: boolean
  /** The number of its last use: the higher, the later. */
  lastUse: number
  /** Null until the server has described them. */
  columns: Columns | null
}

/** The part of pg's Connection that query objects use; pg's types leave it out. */
export interface QueryConnection {
  readonly stream: { write(bytes: Buffer): void; readonly writable: boolean }
}

export interface PgClient {
  readonly connection: unknown
  query(query: object): void
}

interface QueryParts {
  readonly prepared: CachedStatement
  /** True if the server had parsed the statement before. */
  readonly wasParsed: boolean
  readonly statement: Statement
  readonly message: readonly Buffer[]
  /** True if a BEGIN is sent in front of the statement. */
  readonly startsWithBegin: boolean
}

type QueryOutcome = [error: null, result: PreparedResult] | [error: Error]

/** A query object for pg's Client: https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-EXT-QUERY */
export class PreparedQuery {
  readonly prepared: CachedStatement
  readonly wasParsed: boolean
  /** pg looks for this name, to end its own `query_timeout`. */
  callback: (...outcome: QueryOutcome) => void = () => undefined
  readonly #message: readonly Buffer[]
  /** True until the BEGIN in front of the statement is answered. */
  #awaitsBegin: boolean
  readonly #types: SessionTypeParsers
  readonly #asArrays: boolean
  #rows: unknown[] | null = null
  #tag: string | null = null
  #transactionId: string | null = null
  /** The first error that a parser of a value threw. */
  #failure: Error | null = null

  constructor(
    types: SessionTypeParsers,
    { prepared, wasParsed, statement, message, startsWithBegin }: QueryParts,
  ) {
    this.prepared = prepared
    this.wasParsed = wasParsed
    this.#message = message
    this.#awaitsBegin = startsWithBegin
    this.#types = types
    this.#asArrays = statement.asArrays === true
  }

  submit(connection: QueryConnection): null {
    const { stream } = connection
    if (stream.writable) {
      const [first, ...rest] = this.#message
      stream.write(rest.length === 0 && first !== undefined ? first : Buffer.concat(this.#message))
    }
    return null
  }

  handleRowDescription({ fields }: { readonly fields: readonly pg.FieldDef[] }): void {
    this.prepared.columns = toColumns(this.#types, fields)
  }

  handleDataRow({ fields }: { readonly fields: readonly (string | null)[] }): void {
    const { columns } = this.prepared
    if (this.#tag !== null) {
      this.#transactionId = fields[0] ?? null
      return
    }
    if (columns === null || this.#failure !== null) return
    try {
      ;(this.#rows ??= []).push(this.#asArrays ? toRowArray(fields, columns) : toRow(fields, columns))
    } catch (error) {
      // Kept for the query's end: this runs in a listener of the socket, where nothing would catch it.
      this.#failure = error instanceof Error ? error : new Error(String(error), { cause: error })
    }
  }

  handleCommandComplete({ text }: { readonly text: string }): void {
    if (!this.#awaitsBegin) this.#tag ??= text
    this.#awaitsBegin = false
  }

  /** Called after the first row if only that was requested. The Sync that is already sent ends the portal. */
  handlePortalSuspended(): void {}

  handleError(error: Error): void {
    this.callback(error)
  }

  handleReadyForQuery(): void {
    if (this.#failure !== null) {
      this.callback(this.#failure)
      return
    }
    // pg gets no RowDescription for a statement without columns.
    const columns = (this.prepared.columns ??= NO_COLUMNS)
    this.callback(null, new PreparedResult(this.#tag ?? '', this.#rows ?? [], columns, this.#transactionId))
  }
}
