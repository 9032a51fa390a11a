/** Makes a session of a connection to PostgreSQL that was just opened. */
import { DEFAULT_PREPARED_STATEMENTS, type Settings } from '../options'
import type { ArrayTypes } from './array-types'
import { unlessGivenUp } from './client'
import type { RawConnection } from './client'
import { PostgresSession } from './session'
import { settled } from './session-settings'

/**
 * Behind a pooler such as PgBouncer nothing is prepared unless it is `asked` for: the next statement may run in another
 * process of the server, which knows nothing of it. A pooler gives its clients numbers of its own for the process that they
 * talk to.
 */
export async function openSession(
  raw: RawConnection,
  { preparedStatements: asked }: Settings,
  signal: AbortSignal,
  arrays: ArrayTypes,
): Promise<PostgresSession> {
  const settings = await unlessGivenUp({ begun: raw }, signal, settled(raw))
  const isBehindPooler = settings.pid !== raw.processID
  return new PostgresSession(
    raw,
    settings,
    arrays,
    asked ?? (isBehindPooler ? 0 : DEFAULT_PREPARED_STATEMENTS),
  )
}
