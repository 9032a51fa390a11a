/** Statements of our own, about which nothing need be known. */
import type { StatementFacts, Statement } from '../driver/statement'

const PLAIN: StatementFacts = {
  verb: '',
  laterVerbs: [],
  isMultiStatement: false,
  isRead: false,
  hasReturning: false,
  isRepeatable: false,
  changesSession: false,
}

export function plainly(sql: string): Statement {
  return { sql, bindings: [], facts: PLAIN, take: 'all' }
}
