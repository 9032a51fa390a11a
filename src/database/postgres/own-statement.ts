/** Statements that this folder sends by itself. */
import type { StatementFacts, Statement } from '../driver/statement'

const FACTS: StatementFacts = {
  verb: '',
  laterVerbs: [],
  isMultiStatement: false,
  isRead: false,
  hasReturning: false,
  isRepeatable: false,
  changesSession: false,
}

/** Makes a statement without values, none of whose facts matter. */
export function ownStatement(sql: string): Statement {
  return { sql, bindings: [], facts: FACTS, take: 'all' }
}
