/** Makes a session of a new connection to PostgreSQL. */
import { DEFAULT_PREPARED_STATEMENTS, type Settings } from '../options'
import type { ArrayTypes } from './array-types'
import { destroyOnAbort } from './client'
import type { RawConnection } from './client'
import { PostgresSession } from './session'
import { applySessionSettings } from './session-settings'

/**
 * Behind a pooler such as PgBouncer the session prepares statements only if the option `preparedStatements` is set: the next
 * statement may run in another server process, which does not know them. A pooler is recognised by its process id, which
 * differs from that of the server process.
 */
export async function openSession(
  raw: RawConnection,
  { preparedStatements: asked }: Settings,
  signal: AbortSignal,
  arrays: ArrayTypes,
): Promise<PostgresSession> {
  const settings = await destroyOnAbort({ raw }, signal, applySessionSettings(raw))
  const isBehindPooler = settings.pid !== raw.processID
  return new PostgresSession(
    raw,
    settings,
    arrays,
    asked ?? (isBehindPooler ? 0 : DEFAULT_PREPARED_STATEMENTS),
  )
}
