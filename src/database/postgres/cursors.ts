/** The open cursors of one connection to PostgreSQL. */
import { BufferedCursor, type Cursor, type Row, type Statement } from '../driver/statement'
import type { Session } from '../driver/session'
import { Executable, type ExtendedQueryParts, type ExtendedResult } from './extended-query'
import { ownStatement } from './simple-query'

const DECLARABLE = new Set(['SELECT', 'VALUES', 'TABLE'])

/** Rows of the first batch, and of the largest one: larger batches are not faster. */
const FIRST_BATCH = 256
const LARGEST_BATCH = 1000
/** Bytes that a batch is meant to stay below: for large rows fewer are requested. */
const BATCH_BYTES = 1_000_000

/** The part of a session that is used here. */
interface CursorSession extends Pick<Session, 'run' | 'broken' | 'inTransaction'> {
  /** The transaction status as the server reports it: idle, in a transaction, in a failed transaction. */
  readonly status: 'I' | 'T' | 'E' | null
  /** The names of open cursors WITH HOLD. */
  readonly heldCursors: Set<string>
  send(parts: ExtendedQueryParts, statement: Statement): Promise<ExtendedResult>
}

let count = 0

export class PostgresCursors {
  readonly #session: CursorSession

  constructor(session: CursorSession) {
    this.#session = session
  }

  /**
   * Opens a cursor of SQL, not of the protocol: so the connection can run other statements between two reads, and
   * savepoints can come and go. Outside of a transaction it has to be WITH HOLD, or it would end with its own statement.
   */
  async open(statement: Statement, isExclusive: boolean): Promise<Cursor> {
    const session = this.#session
    // EXPLAIN, SHOW and statements that write cannot be declared as a cursor.
    if (!statement.facts.isRead || !DECLARABLE.has(statement.facts.verb)) {
      return new BufferedCursor((await session.run({ ...statement, take: 'all' })).rows)
    }
    const name = `millpond_${(count += 1)}`
    const ownsTransaction = isExclusive && !session.inTransaction
    const isHeld = !ownsTransaction && !session.inTransaction
    if (ownsTransaction) await session.run(ownStatement('BEGIN'))
    try {
      const sql = `DECLARE ${name} NO SCROLL CURSOR ${isHeld ? 'WITH HOLD ' : ''}FOR ${statement.sql}`
      await session.run(ownStatement(sql, statement.bindings))
    } catch (error) {
      if (ownsTransaction && session.broken === null) await session.run(ownStatement('ROLLBACK'))
      throw error
    }
    if (isHeld) session.heldCursors.add(name)
    return new PostgresCursor(session, name, () => this.#close(name, ownsTransaction))
  }

  async closeHeld(): Promise<void> {
    for (const name of this.#session.heldCursors) await this.#close(name, false)
  }

  async #close(name: string, ownsTransaction: boolean): Promise<void> {
    const session = this.#session
    if (session.broken !== null) return
    const isHeld = session.heldCursors.delete(name)
    const isOpen = session.status === 'T'
    // A transaction that has ended or failed has closed its cursor.
    if (ownsTransaction) await session.run(ownStatement(isOpen ? 'COMMIT' : 'ROLLBACK'))
    else if (isHeld || isOpen) await session.run(ownStatement(`CLOSE ${name}`))
  }
}

/**
 * Reads by the protocol's Execute, and asks for the columns once. For an SQL FETCH the server would collect the rows before
 * it sends the first, and describe the columns each time.
 */
class PostgresCursor implements Cursor {
  isAtEnd = false
  readonly close: () => Promise<void>
  readonly #session: CursorSession
  readonly #cursor: Executable
  #batchSize = FIRST_BATCH

  constructor(session: CursorSession, name: string, close: () => Promise<void>) {
    this.#session = session
    this.#cursor = new Executable(name, null)
    this.close = close
  }

  async read(maxRows: number | null): Promise<readonly Row[]> {
    const requested = maxRows ?? this.#batchSize
    const parts = { main: this.#cursor, maxRows: requested }
    const { rows, bytes, isComplete } = await this.#session.send(parts, ownStatement(''))
    this.isAtEnd = isComplete
    const mostByBytes = Math.floor((BATCH_BYTES * rows.length) / Math.max(1, bytes))
    this.#batchSize = Math.max(1, Math.min(2 * requested, LARGEST_BATCH, mostByBytes))
    return rows as readonly Row[]
  }
}
