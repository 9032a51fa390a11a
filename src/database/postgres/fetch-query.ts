/** Reads the next rows of a cursor on PostgreSQL. */
import type { FieldDef } from 'pg'
import type { Row } from '../driver/statement'
import type { Session } from '../driver/session'
import type { SessionTypes } from './array-types'
import { takeRows } from './row-tap'
import type { Connected, Wire } from './prepared-query'
import { type Columns, parseTexts, readRow, toColumns, toRow } from './row-decoder'
import { describePortal, executePortal, nameBytes } from './protocol'

/** Rows in the first piece, and in the largest: more gain nothing. */
const FIRST_PIECE = 256
const LARGEST_PIECE = 1000
/** Bytes in a piece, beyond which rows are so heavy that fewer are asked for. */
const HEAVY_PIECE = 1_000_000

/** What a session is to the cursor that is read. */
interface Conversation extends Pick<Session, 'run'> {
  readonly raw: Connected
  readonly types: SessionTypes
  /** Waits for the answer to what was sent past {@link run}. */
  answered<T>(sent: Promise<T>): Promise<T>
}

/**
 * One cursor, whose columns are the same from its first row to its last. It is read by the protocol's Execute: for a FETCH
 * the server would put the rows aside until it has all of them, and describe them anew.
 */
export class Fetching {
  isAtEnd = false
  readonly #session: Conversation
  readonly #name: Buffer
  #columns: Columns | null = null
  #worthwhile = FIRST_PIECE

  constructor(session: Conversation, name: string) {
    this.#session = session
    this.#name = nameBytes(name)
  }

  /** The next rows: at most `most`, or as many as are worth a journey. */
  async next(most: number | null): Promise<readonly Row[]> {
    const rows = await this.#session.answered(this.#fetch(most))
    const columns = this.#columns
    if (columns?.isIncomplete === true)
      this.#columns = await parseTexts(rows, columns, this.#session, columns)
    return rows
  }

  async #fetch(most: number | null): Promise<readonly Row[]> {
    const count = most ?? this.#worthwhile
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

/** What pg's Client hands the server's answers to: https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-EXT-QUERY */
class FetchQuery {
  /** Under the name by which pg finds it, to put an end to its own `query_timeout`. */
  readonly callback: (error: Error | null) => void
  readonly rows: Row[] = []
  bytes = 0
  columns: Columns | null
  isAtEnd = false
  readonly #types: SessionTypes
  readonly #message: Buffer
  /** What a parser of one of its values threw. */
  #failure: Error | null = null

  constructor(
    types: SessionTypes,
    message: Buffer,
    columns: Columns | null,
    callback: FetchQuery['callback'],
  ) {
    this.#types = types
    this.#message = message
    this.columns = columns
    this.callback = callback
  }

  submit(wire: Wire): null {
    takeRows(wire, this)
    if (wire.stream.writable) wire.stream.write(this.#message)
    return null
  }

  handleRowDescription({ fields }: { readonly fields: readonly FieldDef[] }): void {
    this.columns = toColumns(this.#types, fields)
  }

  takeRow(bytes: Buffer, at: number, end: number): void {
    this.#add(end - at, (columns) => readRow(bytes, at, columns))
  }

  /** The same where pg has made texts of the bytes. */
  handleDataRow({ fields, length }: DataRow): void {
    this.#add(length, (columns) => toRow(fields, columns))
  }

  #add(size: number, make: (columns: Columns) => Row): void {
    this.bytes += size
    if (this.columns === null || this.#failure !== null) return
    try {
      this.rows.push(make(this.columns))
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
