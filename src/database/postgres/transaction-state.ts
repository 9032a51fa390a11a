/** What a session tells of its transaction from the statements that it runs: whether it has an id, and whether it is read-only. */
import type { Outcome } from '../driver/session'
import type { Statement, StatementFacts } from '../driver/statement'

export const TRANSACTION_ID = 'SELECT txid_current()::text'

/** Statements that write, and so give their transaction an id. Writes of functions that a SELECT calls are not noticed. */
const WRITES = new Set(['INSERT', 'UPDATE', 'DELETE', 'MERGE', 'CREATE', 'ALTER', 'DROP', 'TRUNCATE'])

/** Returns whether the server assigns an id to the transaction of this statement. */
export function givesTransactionId({ isMultiStatement, verb }: StatementFacts): boolean {
  return !isMultiStatement && WRITES.has(verb)
}

/** https://www.postgresql.org/docs/current/functions-info.html */
export const OUTCOMES: Readonly<Record<string, Outcome>> = {
  committed: 'committed',
  aborted: 'rolled back',
  'in progress': 'open',
}

const READ_ONLY = /read[ _]only/i

/** Whether the holder of a session has made it, or its transaction, read-only: then a refused write says nothing of the server. */
export class ReadOnlyChoice {
  #ofSession = false
  #ofTransaction = false

  begin(sql: string): void {
    this.#ofTransaction = READ_ONLY.test(sql)
  }

  observe({ sql, facts: { verb, changesSession } }: Statement): void {
    if (verb === 'BEGIN' || verb === 'START') this.begin(sql)
    else if (changesSession) this.#ofSession ||= READ_ONLY.test(sql)
    else if (verb === 'SET') this.#ofTransaction ||= READ_ONLY.test(sql)
  }

  isMade(isInTransaction: boolean): boolean {
    return this.#ofSession || (this.#ofTransaction && isInTransaction)
  }

  /** Called when all settings of the session are undone. */
  clear(): void {
    this.#ofSession = false
  }
}
