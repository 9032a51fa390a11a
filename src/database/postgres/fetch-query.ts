/** A reader of the rows of one cursor on PostgreSQL. */
import type { FieldDef } from 'pg'
import type { Row } from '../driver/statement'
import type { Session } from '../driver/session'
import type { SessionTypeParsers } from './array-types'
import type { PgClient, QueryConnection } from './prepared-query'
import { type Columns, parseRemainingTexts, toColumns, toRow } from './row-decoder'
import { describePortal, executePortal, nameBytes } from './protocol'

/** Rows of the first batch, and of the largest one: larger batches are not faster. */
const FIRST_BATCH = 256
const LARGEST_BATCH = 1000
/** Bytes that a batch is meant to stay below: for large rows fewer are requested. */
const BATCH_BYTES = 1_000_000

/** The part of a session that is used here. */
interface FetchSession extends Pick<Session, 'run'> {
  readonly raw: PgClient
  readonly types: SessionTypeParsers
  /** Waits for a query that was sent without {@link run}. */
  awaitSent<T>(sent: Promise<T>): Promise<T>
}

/**
 * Reads one cursor by the protocol's Execute, and asks for its columns once. For an SQL FETCH the server would collect the
 * rows before it sends the first, and describe the columns each time.
 */
export class CursorReader {
  isAtEnd = false
  readonly #session: FetchSession
  readonly #name: Buffer
  #columns: Columns | null = null
  #batchSize = FIRST_BATCH

  constructor(session: FetchSession, name: string) {
    this.#session = session
    this.#name = nameBytes(name)
  }

  /** Returns the next rows: at most `maxRows`, or a batch if `maxRows` is null. */
  async next(maxRows: number | null): Promise<readonly Row[]> {
    const rows = await this.#session.awaitSent(this.#fetch(maxRows))
    const columns = this.#columns
    if (columns?.hasUnknownTypes === true)
      this.#columns = await parseRemainingTexts(rows, columns, this.#session, columns)
    return rows
  }

  async #fetch(maxRows: number | null): Promise<readonly Row[]> {
    const count = maxRows ?? this.#batchSize
    const execute = executePortal(this.#name, count)
    const message = this.#columns === null ? Buffer.concat([describePortal(this.#name), execute]) : execute
    const { raw, types } = this.#session
    const { rows, bytes, columns, isAtEnd } = await new Promise<FetchQuery>((resolve, reject) => {
      const query = new FetchQuery(types, message, this.#columns, (error) => {
        if (error === null) resolve(query)
        else reject(error)
      })
      raw.query(query)
    })
    this.#columns = columns
    this.isAtEnd = isAtEnd
    const mostByBytes = Math.floor((BATCH_BYTES * rows.length) / Math.max(1, bytes))
    this.#batchSize = Math.max(1, Math.min(2 * count, LARGEST_BATCH, mostByBytes))
    return rows
  }
}

/** pg's DataRow message. */
interface DataRow {
  readonly fields: readonly (string | null)[]
  readonly length: number
}

/** A query object for pg's Client: https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-EXT-QUERY */
class FetchQuery {
  /** pg looks for this name, to end its own `query_timeout`. */
  readonly callback: (error: Error | null) => void
  readonly rows: Row[] = []
  bytes = 0
  columns: Columns | null
  isAtEnd = false
  readonly #types: SessionTypeParsers
  readonly #message: Buffer
  /** The first error that a parser of a value threw. */
  #failure: Error | null = null

  constructor(
    types: SessionTypeParsers,
    message: Buffer,
    columns: Columns | null,
    callback: FetchQuery['callback'],
  ) {
    this.#types = types
    this.#message = message
    this.columns = columns
    this.callback = callback
  }

  submit(connection: QueryConnection): null {
    if (connection.stream.writable) connection.stream.write(this.#message)
    return null
  }

  handleRowDescription({ fields }: { readonly fields: readonly FieldDef[] }): void {
    this.columns = toColumns(this.#types, fields)
  }

  handleDataRow({ fields, length }: DataRow): void {
    this.bytes += length
    if (this.columns === null || this.#failure !== null) return
    try {
      this.rows.push(toRow(fields, this.columns))
    } catch (error) {
      this.#failure = error instanceof Error ? error : new Error(String(error), { cause: error })
    }
  }

  handlePortalSuspended(): void {}

  handleCommandComplete(): void {
    this.isAtEnd = true
  }

  handleError(error: Error): void {
    this.callback(error)
  }

  handleReadyForQuery(): void {
    this.callback(this.#failure)
  }
}
