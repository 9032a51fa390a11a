/** The open cursors of one connection to PostgreSQL. */
import { BufferedCursor } from '../driver/buffered-cursor'
import type { Cursor, Statement } from '../driver/statement'
import type { Session } from '../driver/session'
import type { SessionTypes } from './array-types'
import { Fetching } from './fetch-query'
import { plainly } from './own-statement'
import type { Connected } from './prepared-query'

const DECLARABLE = new Set(['SELECT', 'VALUES', 'TABLE'])

/** What a session is to its cursors. */
interface Conversation extends Pick<Session, 'run' | 'broken' | 'inTransaction'> {
  /** As the server tells it: idle, in a transaction, or in one that has failed. */
  readonly status: 'I' | 'T' | 'E' | null
  readonly raw: Connected
  readonly types: SessionTypes
  /** Waits for the answer to what was sent past {@link run}. */
  answered<T>(sent: Promise<T>): Promise<T>
}

let count = 0

export class PostgresCursors {
  readonly #session: Conversation
  /** Those that no transaction closes by its end. */
  readonly #held = new Set<string>()

  constructor(session: Conversation) {
    this.#session = session
  }

  get areHeld(): boolean {
    return this.#held.size > 0
  }

  // A cursor of SQL, not of the protocol: the connection can run other statements between two reads, and its
  // savepoints come and go. Outside of a transaction it must be held, or it would end with its own statement.
  async open(statement: Statement, isExclusive: boolean): Promise<Cursor> {
    const session = this.#session
    // EXPLAIN and SHOW, and what writes, cannot be declared as a cursor.
    if (!statement.facts.isRead || !DECLARABLE.has(statement.facts.verb)) {
      return new BufferedCursor((await session.run({ ...statement, take: 'all' })).rows)
    }
    const name = `millpond_${(count += 1)}`
    const owns = isExclusive && !session.inTransaction
    const isHeld = !owns && !session.inTransaction
    if (owns) await session.run(plainly('BEGIN'))
    try {
      const sql = `DECLARE ${name} NO SCROLL CURSOR ${isHeld ? 'WITH HOLD ' : ''}FOR ${statement.sql}`
      await session.run({ ...plainly(sql), bindings: statement.bindings })
    } catch (error) {
      if (owns && session.broken === null) await session.run(plainly('ROLLBACK'))
      throw error
    }
    if (isHeld) this.#held.add(name)
    const fetching = new Fetching(session, name)
    return {
      get isAtEnd() {
        return fetching.isAtEnd
      },
      read: (most) => fetching.next(most),
      close: () => this.#close(name, owns),
    }
  }

  async closeHeld(): Promise<void> {
    for (const name of this.#held) await this.#close(name, false)
  }

  async #close(name: string, owns: boolean): Promise<void> {
    const session = this.#session
    if (session.broken !== null) return
    const isHeld = this.#held.delete(name)
    const isOpen = session.status === 'T'
    // A transaction that has ended or failed has taken its cursor along.
    if (owns) await session.run(plainly(isOpen ? 'COMMIT' : 'ROLLBACK'))
    else if (isHeld || isOpen) await session.run(plainly(`CLOSE ${name}`))
  }
}
