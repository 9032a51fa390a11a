/** Mutual exclusion on SQLite: a file beside the database that is locked, and that the system unlocks when its owner ends. */
import type { NamedLock } from '../driver/session'
import type { DatabaseURL } from '../url'
import { isBusy } from './busy-retry'
import { OPEN, own, type SqliteDriver } from './driver'

/** A database in memory belongs to one Database: `taken` are the names that somebody has there. */
export function nameLock(name: string, taken: Set<string>): NamedLock {
  let hasEntered = false
  return {
    tryLock() {
      hasEntered ||= !taken.has(name)
      taken.add(name)
      return Promise.resolve(hasEntered)
    },
    unlock() {
      if (hasEntered) taken.delete(name)
      return Promise.resolve()
    },
  }
}

/**
 * The file is a database of its own, so that whoever holds it keeps nobody from writing to the other one. It stays: one
 * that was deleted could still be locked by somebody, while another makes it anew.
 */
export async function fileLock(name: string, url: DatabaseURL, driver: SqliteDriver): Promise<NamedLock> {
  const file = `${url.database}.${encodeURIComponent(name)}.lock`
  const connection = await driver.open(file, OPEN.READWRITE | OPEN.CREATE)
  // The default makes one of libuv's few threads sleep.
  await connection.all(own('PRAGMA busy_timeout = 0'))
  return {
    async tryLock() {
      try {
        await connection.run(own('BEGIN EXCLUSIVE'))
        return true
      } catch (error) {
        if (isBusy(error)) return false
        throw error
      }
    },
    unlock: () => connection.close(),
  }
}
