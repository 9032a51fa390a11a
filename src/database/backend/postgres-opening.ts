/** Makes a session of a connection to PostgreSQL that was just opened. */
import { MOST_PREPARED, type Settings } from '../options'
import { unlessGivenUp } from './postgres-client'
import type { RawConnection } from './postgres-client'
import { PostgresSession } from './postgres-session'

export async function openSession(
  raw: RawConnection,
  { preparedStatements: asked }: Settings,
  signal: AbortSignal,
): Promise<PostgresSession> {
  if (asked !== undefined) return new PostgresSession(raw, asked)
  const isBehindPooler = await unlessGivenUp({ begun: raw }, signal, isPooled(raw))
  return new PostgresSession(raw, isBehindPooler ? 0 : MOST_PREPARED)
}

/**
 * Whether a pooler such as PgBouncer is in between, whose next statement may run in another process of the server, which
 * knows nothing of what was prepared. A pooler gives its clients numbers of its own for the process that they talk to.
 */
async function isPooled(raw: RawConnection): Promise<boolean> {
  const { rows } = await raw.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')
  return rows[0]?.pid !== raw.processID
}
