/** Opens a SQLite file and makes a session of the connection. */
import { messageOf } from '../driver/driver-error'
import type { DatabaseURL } from '../url'
import { OPEN_FLAGS, ownStatement, type SqliteConnection, type SqliteDriver } from './driver'
import { SqliteSession } from './session'
import type { SharedFile } from './shared-file'

const BUSY_TIMEOUT_MILLIS = 5000
/** How long the first connection waits for others to let it switch the file to a write-ahead log. */
const SWITCH_TIMEOUT_MILLIS = 1000
/** Errors after which a file keeps its rollback journal: another connection reads it, or it cannot be written. */
const KEEPS_JOURNAL = /^SQLITE_(?:BUSY|LOCKED|READONLY|CANTOPEN|IOERR|PERM)/

/** Opens the file. `mode` and `immutable` mean what https://www.sqlite.org/uri.html says: nothing changes an immutable file. */
export async function openConnection(
  { options: { mode, immutable } }: DatabaseURL,
  filename: string,
  driver: SqliteDriver,
  shared: SharedFile,
): Promise<SqliteConnection> {
  shared.addConnection(driver.name)
  try {
    if (immutable === '1') {
      const file = encodeURI(filename).replace(/[?#]/g, encodeURIComponent)
      return await driver.open(`file:${file}?immutable=1`, OPEN_FLAGS.READONLY | OPEN_FLAGS.URI)
    }
    if (mode === 'ro') return await driver.open(filename, OPEN_FLAGS.READONLY)
    return await driver.open(filename, OPEN_FLAGS.READWRITE | (mode === 'rw' ? 0 : OPEN_FLAGS.CREATE))
  } catch (error) {
    shared.removeConnection()
    throw error
  }
}

export async function openSession(connection: SqliteConnection, file: SharedFile): Promise<SqliteSession> {
  const set = (pragma: string): Promise<unknown> => connection.all(ownStatement(`PRAGMA ${pragma}`))
  try {
    if (!file.isMemory) {
      await set(`busy_timeout = ${file.mayBecomeWal ? SWITCH_TIMEOUT_MILLIS : 0}`)
      file.mayBecomeWal = await switchToWal(connection)
      // With a rollback journal, NORMAL can corrupt the file in a power failure.
      if (file.mayBecomeWal) await set('synchronous = NORMAL')
    }
    await set(`busy_timeout = ${BUSY_TIMEOUT_MILLIS}`)
    await set('foreign_keys = ON')
  } catch (error) {
    await connection.close()
    file.removeConnection()
    throw error
  }
  return new SqliteSession(connection, file)
}

async function switchToWal(connection: SqliteConnection): Promise<boolean> {
  try {
    const [row] = await connection.all(ownStatement('PRAGMA journal_mode = WAL'))
    return row?.['journal_mode'] === 'wal'
  } catch (error) {
    if (KEEPS_JOURNAL.test(messageOf(error))) return false
    throw error
  }
}
