/** Statements of our own, about which nothing need be known. */
import type { Facts, Statement } from '../driver/statement'

const PLAIN: Facts = {
  verb: '',
  laterVerbs: [],
  isSeveral: false,
  isRead: false,
  hasReturning: false,
  isRepeatable: false,
  changesSession: false,
}

export function plainly(sql: string): Statement {
  return { sql, bindings: [], facts: PLAIN, take: 'all' }
}
