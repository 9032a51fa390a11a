/** One run of a prepared statement on a connection to PostgreSQL, and what becomes of it. */
import type pg from 'pg'
import type { Statement } from '../driver/statement'
import type { SessionTypes } from './array-types'
import { takeRows } from './row-tap'
import {
  type Columns,
  NO_COLUMNS,
  PreparedResult,
  readArray,
  readFirst,
  readRow,
  toArray,
  toColumns,
  toRow,
} from './row-decoder'

export interface Prepared {
  readonly sql: string
  readonly name: Buffer
  /** The server has it. */
  isParsed: boolean
  /** Its place in the order of use: the higher, the later. */
  lastRun: number
  /** Known once the server has described it. */
  columns: Columns | null
}

/** What pg's Client lets a query of one's own do, and its types leave out. */
export interface Wire {
  readonly stream: { write(bytes: Buffer): void; readonly writable: boolean }
  on(event: 'parseComplete' | 'bindComplete', listener: () => void): void
}

export interface Connected {
  readonly connection: unknown
  query(query: object): void
}

/** What a query is made of. */
interface Parts {
  readonly prepared: Prepared
  /** The server had parsed it before. */
  readonly wasKept: boolean
  readonly statement: Statement
  readonly message: readonly Buffer[]
  /** A BEGIN is in front of it. */
  readonly begins: boolean
}

type Outcome = [error: null, result: PreparedResult] | [error: Error]

/** What pg's Client hands the server's answers to: https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-EXT-QUERY */
export class PreparedQuery {
  readonly prepared: Prepared
  readonly wasKept: boolean
  /** Under the name by which pg finds it, to put an end to its own `query_timeout`. */
  callback: (...outcome: Outcome) => void = () => undefined
  readonly #message: readonly Buffer[]
  /** What is answered next is the BEGIN in front of it. */
  #isBeginning: boolean
  readonly #types: SessionTypes
  readonly #asArrays: boolean
  #rows: unknown[] | null = null
  #tag: string | null = null
  #transactionId: string | null = null
  /** What a parser of one of its values threw. */
  #failure: Error | null = null

  constructor(types: SessionTypes, { prepared, wasKept, statement, message, begins }: Parts) {
    this.prepared = prepared
    this.wasKept = wasKept
    this.#message = message
    this.#isBeginning = begins
    this.#types = types
    this.#asArrays = statement.asArrays === true
  }

  submit(wire: Wire): null {
    const { stream } = wire
    takeRows(wire, this)
    if (stream.writable) {
      const [first, ...rest] = this.#message
      stream.write(rest.length === 0 && first !== undefined ? first : Buffer.concat(this.#message))
    }
    return null
  }

  handleRowDescription({ fields }: { readonly fields: readonly pg.FieldDef[] }): void {
    this.prepared.columns = toColumns(this.#types, fields)
  }

  takeRow(bytes: Buffer, at: number): void {
    if (this.#tag === null)
      this.#add((columns) => (this.#asArrays ? readArray(bytes, at, columns) : readRow(bytes, at, columns)))
    else this.#guarded(() => (this.#transactionId = readFirst(bytes, at)))
  }

  /** The same where pg has made texts of the bytes. */
  handleDataRow({ fields }: { readonly fields: readonly (string | null)[] }): void {
    if (this.#tag === null)
      this.#add((columns) => (this.#asArrays ? toArray(fields, columns) : toRow(fields, columns)))
    else this.#transactionId = fields[0] ?? null
  }

  #add(make: (columns: Columns) => unknown): void {
    const { columns } = this.prepared
    if (columns === null || this.#failure !== null) return
    this.#guarded(() => (this.#rows ??= []).push(make(columns)))
  }

  /** It runs in a listener of the socket, where nobody would catch an error. */
  #guarded(work: () => void): void {
    try {
      work()
    } catch (error) {
      this.#failure = error instanceof Error ? error : new Error(String(error), { cause: error })
    }
  }

  handleCommandComplete({ text }: { readonly text: string }): void {
    if (!this.#isBeginning) this.#tag ??= text
    this.#isBeginning = false
  }

  /** After the first row of several. The Sync that was sent along ends the rest. */
  handlePortalSuspended(): void {}

  handleError(error: Error): void {
    this.callback(error)
  }

  handleReadyForQuery(): void {
    if (this.#failure !== null) {
      this.callback(this.#failure)
      return
    }
    // A statement without columns is not described by anything.
    const columns = (this.prepared.columns ??= NO_COLUMNS)
    this.callback(null, new PreparedResult(this.#tag ?? '', this.#rows ?? [], columns, this.#transactionId))
  }
}
