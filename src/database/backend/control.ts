/** Statements that open or end a transaction: refused as text where millpond has one open, since it would not know. */
import { TransactionError } from '../errors'
import type { Statement } from './dialect'

const CONTROL = new Set([
  'BEGIN',
  'START',
  'COMMIT',
  'END',
  'ROLLBACK',
  'ABORT',
  'PREPARE TRANSACTION',
  'SAVEPOINT',
  'RELEASE',
])

/** @throws TransactionError for such a statement */
export function refuseControl({ sql, facts }: Statement): void {
  if (!CONTROL.has(facts.verb) && !facts.laterVerbs.some((verb) => CONTROL.has(verb))) return
  throw new TransactionError(
    `'${sql.trim()}' cannot be run inside a transaction of millpond, which would not know of it. ` +
      'Use commit() and rollback() of the transaction, and transaction() for a savepoint.',
  )
}
