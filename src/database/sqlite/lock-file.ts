/** A named lock on SQLite: a locked file beside the database, which the system unlocks when its process ends. */
import type { NamedLock } from '../driver/session'
import type { DatabaseURL } from '../url'
import { isBusy } from './busy-retry'
import { OPEN_FLAGS, ownStatement, type SqliteDriver } from './driver'

/** Makes a lock for a database in memory, which belongs to one Database. `lockedNames`: the names that are locked there. */
export function nameLock(name: string, lockedNames: Set<string>): NamedLock {
  let hasEntered = false
  return {
    tryLock() {
      hasEntered ||= !lockedNames.has(name)
      lockedNames.add(name)
      return Promise.resolve(hasEntered)
    },
    unlock() {
      if (hasEntered) lockedNames.delete(name)
      return Promise.resolve()
    },
  }
}

/**
 * Makes a lock from a file that is a SQLite database itself, so that holding it blocks no writer of the main database. The
 * file is never deleted: a process could still hold the lock of a deleted file while another creates a new one.
 */
export async function fileLock(name: string, url: DatabaseURL, driver: SqliteDriver): Promise<NamedLock> {
  const file = `${url.database}.${encodeURIComponent(name)}.lock`
  const connection = await driver.open(file, OPEN_FLAGS.READWRITE | OPEN_FLAGS.CREATE)
  // A busy timeout would make one of libuv's few threads sleep.
  await connection.all(ownStatement('PRAGMA busy_timeout = 0'))
  return {
    async tryLock() {
      try {
        await connection.run(ownStatement('BEGIN EXCLUSIVE'))
        return true
      } catch (error) {
        if (isBusy(error)) return false
        throw error
      }
    },
    unlock: () => connection.close(),
  }
}
