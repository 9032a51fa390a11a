/** The query object that runs statements and reads cursors by PostgreSQL's extended protocol: https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-EXT-QUERY */
import type { FieldDef } from 'pg'
import type { Result, Statement } from '../driver/statement'
import { type Parameter, toParameter } from './parameters'
import { activeQuery, type PgConnection, type QueryObject, type RawConnection } from './pg-client'
import { readFirstText, readRow, readRowArray, type RowConsumer, setRowConsumer } from './row-tap'
import { changedRows } from './simple-query'
import { type Columns, NO_COLUMNS, toColumns, toRow, toRowArray } from './rows'
import type { SessionTypeParsers } from './array-types'

/** What the server executes: a statement that is parsed first, or a cursor that is open already. */
export class Executable {
  /** The empty name is for a statement that runs once. */
  readonly name: string
  /** Null for a cursor. */
  readonly sql: string | null
  /** True while the server has the statement under this name. */
  isParsed = false
  /** Null until the server has described them. */
  columns: Columns | null = null

  constructor(name: string, sql: string | null) {
    this.name = name
    this.sql = sql
  }
}

export interface Execution {
  readonly values?: readonly Parameter[]
  /** The most rows to return; 0 for all. */
  readonly maxRows: number
  readonly asArrays?: boolean
}

/**
 * Returns how a statement is executed.
 *
 * @throws what pg throws for a value that it cannot write
 */
export function executionOf({ bindings, take, facts, asArrays = false }: Statement): Execution {
  return { values: bindings.map(toParameter), maxRows: take === 'first' && facts.isRead ? 1 : 0, asArrays }
}

export interface ExtendedQueryParts extends Execution {
  readonly main: Executable
  /** Run before the main one: a BEGIN. */
  readonly before?: Executable | null
  /** Run after it: a statement that returns the id of the transaction. */
  readonly after?: Executable | null
  /** Names of statements to deallocate on the server before. */
  readonly toDeallocate?: readonly string[]
}

const NO_VALUES: readonly Parameter[] = []

/** pg's DataRow message. */
interface DataRow {
  readonly fields: readonly (string | null)[]
  readonly length: number
}

type Callback = (...outcome: [error: null, result: ExtendedResult] | [error: Error]) => void

export class ExtendedQuery implements QueryObject, RowConsumer {
  readonly main: Executable
  /** True if the server had parsed the main statement before. */
  wasParsed = false
  /**
   * pg looks for this name, to end its own `query_timeout`. It is given to the constructor because V8 keeps a function that is
   * assigned later, and with it the rows of its query, until the next full collection: test/database/query/streaming-memory.test.ts.
   */
  readonly callback: Callback
  readonly #types: SessionTypeParsers
  readonly #parts: ExtendedQueryParts
  readonly #asArrays: boolean
  /** Statements whose ParseComplete is expected, in order. */
  readonly #unparsed: Executable[] = []
  /** BindComplete messages still expected until the main statement has started. */
  #pendingBinds: number
  /** True until the statement before the main one is complete. */
  #awaitsBefore: boolean
  readonly #rows: unknown[] = []
  #bytes = 0
  /** Null until the main statement is complete. */
  #tag: string | null = null
  #transactionId: string | null = null
  /** The first error that a parser of a value threw. */
  #failure: Error | null = null

  constructor(types: SessionTypeParsers, parts: ExtendedQueryParts, callback: Callback) {
    this.callback = callback
    this.main = parts.main
    this.#types = types
    this.#parts = parts
    this.#asArrays = parts.asArrays === true
    this.#awaitsBefore = (parts.before ?? null) !== null
    this.#pendingBinds = this.#awaitsBefore ? 2 : 1
  }

  get text(): string {
    return this.main.sql ?? 'FETCH'
  }

  get name(): null {
    return null
  }

  /** True when the server has accepted the values of the main statement. */
  get hasStarted(): boolean {
    return this.#pendingBinds === 0
  }

  submit(connection: PgConnection): null {
    const { main, values = NO_VALUES, maxRows, before = null, after = null, toDeallocate = [] } = this.#parts
    this.wasParsed = main.isParsed
    const { stream } = connection
    // One packet for all messages.
    stream.cork()
    setRowConsumer(connection, this)
    for (const name of toDeallocate) connection.close({ type: 'S', name })
    if (before !== null) this.#send(connection, before, NO_VALUES, 0)
    this.#send(connection, main, values, maxRows)
    if (after !== null) this.#send(connection, after, NO_VALUES, 0)
    connection.sync()
    stream.uncork()
    return null
  }

  #send(connection: PgConnection, executable: Executable, values: readonly Parameter[], rows: number): void {
    const { name, sql, isParsed } = executable
    const portal = sql === null ? name : ''
    if (sql !== null) {
      if (!isParsed) {
        // The server may have parsed it for a query whose answer was lost.
        if (name !== '') connection.close({ type: 'S', name })
        connection.parse({ name, text: sql })
        this.#unparsed.push(executable)
      }
      connection.bind({ statement: name, values })
    }
    if (executable === this.main && executable.columns === null)
      connection.describe({ type: 'P', name: portal })
    connection.execute({ portal, rows })
  }

  handleParseComplete(): void {
    const parsed = this.#unparsed.shift()
    if (parsed !== undefined) parsed.isParsed = true
  }

  handleBindComplete(): void {
    if (this.#pendingBinds > 0) this.#pendingBinds -= 1
  }

  handleRowDescription({ fields }: { readonly fields: readonly FieldDef[] }): void {
    this.main.columns = toColumns(this.#types, fields)
  }

  consumeRow(bytes: Buffer, at: number, end: number): void {
    try {
      if (this.#tag !== null) this.#transactionId = readFirstText(bytes, at)
      else if (this.#makesRows(end - at))
        this.#rows.push((this.#asArrays ? readRowArray : readRow)(bytes, at, this.#columns))
    } catch (error) {
      this.#keepFailure(error)
    }
  }

  /** Called by pg where there is no row tap. */
  handleDataRow({ fields, length }: DataRow): void {
    try {
      if (this.#tag !== null) this.#transactionId = fields[0] ?? null
      else if (this.#makesRows(length))
        this.#rows.push((this.#asArrays ? toRowArray : toRow)(fields, this.#columns))
    } catch (error) {
      this.#keepFailure(error)
    }
  }

  /** Counts the bytes of a row. Returns false if it need not be made, because an earlier one has failed. */
  #makesRows(bytes: number): boolean {
    this.#bytes += bytes
    return this.#failure === null
  }

  get #columns(): Columns {
    return this.main.columns ?? NO_COLUMNS
  }

  /** Keeps an error for the query's end: this runs in a listener of the socket, where nothing would catch it. */
  #keepFailure(error: unknown): void {
    this.#failure = error instanceof Error ? error : new Error(String(error), { cause: error })
  }

  handleCommandComplete({ text }: { readonly text: string }): void {
    if (!this.#awaitsBefore) this.#tag ??= text
    this.#awaitsBefore = false
  }

  /** Called after `maxRows` rows. The Sync that is already sent closes the unnamed portal. */
  handlePortalSuspended(): void {}

  handleEmptyQuery(): void {}

  handleError(error: Error): void {
    this.callback(error)
  }

  handleReadyForQuery(): void {
    if (this.#failure !== null) {
      this.callback(this.#failure)
      return
    }
    // pg passes no message on for a statement without columns.
    const columns = (this.main.columns ??= NO_COLUMNS)
    this.callback(null, new ExtendedResult(this.#tag, this.#rows, columns, this.#transactionId, this.#bytes))
  }
}

/** The result of a query by the extended protocol. */
export class ExtendedResult implements Result {
  readonly rows: readonly unknown[]
  readonly command: string
  readonly rowCount: number
  readonly lastInsertId = null
  /** False if rows may follow, because a limited number was asked for. */
  readonly isComplete: boolean
  readonly columns: Columns
  /** The id of its transaction, if that was asked for. */
  readonly transactionId: string | null
  /** How many bytes the server has sent for the rows. */
  readonly bytes: number
  readonly #tag: string

  /** `tag`: such as `INSERT 0 3`. */
  constructor(
    tag: string | null,
    rows: readonly unknown[],
    columns: Columns,
    transactionId: string | null,
    bytes: number,
  ) {
    this.#tag = tag ?? ''
    this.rows = rows
    const space = this.#tag.indexOf(' ')
    this.command = space < 0 ? this.#tag : this.#tag.slice(0, space)
    this.rowCount = changedRows(this.command, countIn(this.#tag))
    this.isComplete = tag !== null
    this.columns = columns
    this.transactionId = transactionId
    this.bytes = bytes
  }

  /** The result in the form of pg's own. */
  get forKnex() {
    const { command, rows } = this
    const rowCount = this.isComplete ? countIn(this.#tag) : rows.length
    return { response: { command, rowCount, rows, fields: this.columns.fields, oid: null } }
  }
}

/** Returns the number at the end of a command's tag; null if there is none, as in `CREATE TABLE`. */
function countIn(tag: string): number | null {
  const count = Number(tag.slice(tag.lastIndexOf(' ') + 1) || NaN)
  return Number.isNaN(count) ? null : count
}

/**
 * Tells a query that the server has accepted its statement or values, which pg keeps to itself. Then `onBound` is called. pg
 * may run a query of the caller, which has answers of the same kind.
 */
export function forwardCompletions(raw: RawConnection, onBound: () => void): void {
  raw.connection.on('parseComplete', () => {
    const query = activeQuery(raw)
    if (query instanceof ExtendedQuery) query.handleParseComplete()
  })
  raw.connection.on('bindComplete', () => {
    const query = activeQuery(raw)
    if (!(query instanceof ExtendedQuery)) return
    query.handleBindComplete()
    onBound()
  })
}
