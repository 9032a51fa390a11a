/** The open cursors of one connection to PostgreSQL. */
import { BufferedCursor, type Cursor, type Statement } from '../driver/statement'
import type { Session } from '../driver/session'
import type { SessionTypeParsers } from './array-types'
import { CursorReader } from './fetch-query'
import { ownStatement } from './own-statement'
import type { PgClient } from './prepared-query'

const DECLARABLE = new Set(['SELECT', 'VALUES', 'TABLE'])

/** The part of a session that is used here. */
interface CursorSession extends Pick<Session, 'run' | 'broken' | 'inTransaction'> {
  /** The transaction status as the server reports it: idle, in a transaction, in a failed transaction. */
  readonly status: 'I' | 'T' | 'E' | null
  readonly raw: PgClient
  readonly types: SessionTypeParsers
  /** Waits for a query that was sent without {@link run}. */
  awaitSent<T>(sent: Promise<T>): Promise<T>
}

let count = 0

export class PostgresCursors {
  readonly #session: CursorSession
  /** The names of open cursors WITH HOLD, which no end of a transaction closes. */
  readonly #held = new Set<string>()

  constructor(session: CursorSession) {
    this.#session = session
  }

  get hasHeld(): boolean {
    return this.#held.size > 0
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
      await session.run({ ...ownStatement(sql), bindings: statement.bindings })
    } catch (error) {
      if (ownsTransaction && session.broken === null) await session.run(ownStatement('ROLLBACK'))
      throw error
    }
    if (isHeld) this.#held.add(name)
    const reader = new CursorReader(session, name)
    return {
      get isAtEnd() {
        return reader.isAtEnd
      },
      read: (maxRows) => reader.next(maxRows),
      close: () => this.#close(name, ownsTransaction),
    }
  }

  async closeHeld(): Promise<void> {
    for (const name of this.#held) await this.#close(name, false)
  }

  async #close(name: string, ownsTransaction: boolean): Promise<void> {
    const session = this.#session
    if (session.broken !== null) return
    const isHeld = this.#held.delete(name)
    const isOpen = session.status === 'T'
    // A transaction that has ended or failed has closed its cursor.
    if (ownsTransaction) await session.run(ownStatement(isOpen ? 'COMMIT' : 'ROLLBACK'))
    else if (isHeld || isOpen) await session.run(ownStatement(`CLOSE ${name}`))
  }
}
