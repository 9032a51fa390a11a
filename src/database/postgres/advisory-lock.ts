/** One at a time, on PostgreSQL: a lock of a session, which goes with its connection. */
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

/** https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS */
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
