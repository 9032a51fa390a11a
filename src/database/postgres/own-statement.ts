/** Statements that this folder sends by itself. */
import type { Facts, Statement } from '../driver/statement'

const FACTS: Facts = {
  verb: '',
  laterVerbs: [],
  isSeveral: false,
  isRead: false,
  hasReturning: false,
  isRepeatable: false,
  changesSession: false,
}

/** Makes a statement without values, none of whose facts matter. */
export function ownStatement(sql: string): Statement {
  return { sql, bindings: [], facts: FACTS, take: 'all' }
}
