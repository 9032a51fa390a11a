/** Statements that make prepared statements of a connection outdated: they change the settings or the schema. */
import type { Statement } from '../driver/statement'

/** Statements after which a prepared statement may be gone, or mean something else. */
const INVALIDATING = new Set(['CREATE', 'ALTER', 'DROP', 'DISCARD', 'DEALLOCATE', 'SET'])

/** Settings for one transaction that change neither the meaning nor the plan of any statement. */
const HARMLESS =
  /^\s*set\s+(?:transaction|constraints|local\s+(?:\w+\s*\.|\w*_timeout\b|application_name\b|synchronous_commit\b))/i

/** Statements that may undo a SET LOCAL or a change of the schema. ROLLBACK includes ROLLBACK TO a savepoint. */
const ENDS = new Set(['COMMIT', 'END', 'ROLLBACK', 'ABORT'])

export function invalidatesPlans({ sql, facts: { verb, changesSession } }: Statement): boolean {
  return changesSession || (INVALIDATING.has(verb) && !HARMLESS.test(sql))
}

export function mayUndoChanges({ facts: { verb } }: Statement): boolean {
  return ENDS.has(verb)
}
