/** What makes prepared statements of a connection to PostgreSQL outdated: settings and schemas that they were parsed in. */
import type { Statement } from '../driver/statement'

/** Statements after which what was prepared may not be there any more, or mean something else. */
const UNSETTLING = new Set(['CREATE', 'ALTER', 'DROP', 'DISCARD', 'DEALLOCATE', 'SET'])

/** What a SET may set for a transaction without changing the meaning of any text, or how it is best run. */
const HARMLESS =
  /^\s*set\s+(?:transaction|constraints|local\s+(?:\w+\s*\.|\w*_timeout\b|application_name\b|synchronous_commit\b))/i

/** What undoes a SET LOCAL, or may undo a change of the schema; a ROLLBACK to a savepoint is one of them. */
const ENDS = new Set(['COMMIT', 'END', 'ROLLBACK', 'ABORT'])

export function invalidatesPlans({ sql, facts: { verb, changesSession } }: Statement): boolean {
  return changesSession || (UNSETTLING.has(verb) && !HARMLESS.test(sql))
}

export function mayUndo({ facts: { verb } }: Statement): boolean {
  return ENDS.has(verb)
}
