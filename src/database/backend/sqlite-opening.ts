/** Makes a session of a connection to a SQLite file that was just opened. */
import type { Session } from './dialect'
import { exec, type RawConnection } from './sqlite-driver'
import type { SqliteFile } from './sqlite-file'
import { SqliteSession } from './sqlite-session'

const BUSY_TIMEOUT_MILLIS = 5000

export async function openSession(raw: RawConnection, file: SqliteFile): Promise<Session> {
  // Parallel statements on one connection block the event loop: TryGhost/node-sqlite3#1394.
  raw.serialize()
  try {
    // First of all how long to wait: switching to WAL may already find the file locked.
    await exec(raw, `PRAGMA busy_timeout = ${BUSY_TIMEOUT_MILLIS}`)
    if (!file.isMemory) await exec(raw, 'PRAGMA journal_mode = WAL')
    await exec(raw, 'PRAGMA synchronous = NORMAL')
    await exec(raw, 'PRAGMA foreign_keys = ON')
  } catch (error) {
    raw.close()
    throw error
  }
  return new SqliteSession(raw, file)
}
