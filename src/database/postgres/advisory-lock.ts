/** A named lock on PostgreSQL: a session-level advisory lock, which the server releases when its connection ends. */
import type { NamedLock, Session } from '../driver/session'
import type { StatementFacts } from '../driver/statement'

const FACTS: StatementFacts = {
  verb: 'SELECT',
  laterVerbs: [],
  isMultiStatement: false,
  isRead: true,
  hasReturning: false,
  isRepeatable: false,
  changesSession: true,
}

/**
 * Opens a connection for the lock and returns the lock, not yet taken.
 * https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS
 */
export async function advisoryLock(
  name: string,
  open: () => Promise<Session>,
  lost: () => void,
): Promise<NamedLock> {
  const session = await open()
  session.onLost(lost)
  return {
    async tryLock() {
      const sql = 'SELECT pg_try_advisory_lock(hashtextextended($1, 0)) AS entered'
      const { rows } = await session.run({ sql, bindings: [name], facts: FACTS, take: 'all' })
      return (rows[0] as { entered: boolean } | undefined)?.entered === true
    },
    unlock: () => session.close(),
  }
}
