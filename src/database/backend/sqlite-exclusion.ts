/** One at a time, on SQLite: a file beside the database that is locked, and that the system unlocks when its owner ends. */
import type { DatabaseURL } from '../url'
import type { Exclusion } from './dialect'
import { messageOf } from './driver-error'
import { exec, type RawConnection } from './sqlite-driver'

/** A database in memory belongs to one process, and to one Database in it. */
export function nameLock(name: string, taken: Set<string>): Exclusion {
  let isIn = false
  return {
    tryEnter() {
      if (taken.has(name)) return Promise.resolve(false)
      taken.add(name)
      isIn = true
      return Promise.resolve(true)
    },
    leave() {
      if (isIn) taken.delete(name)
      return Promise.resolve()
    },
  }
}

/**
 * The file is a database of its own, so that whoever holds it keeps nobody from writing to the other one. It stays: one
 * that was deleted could still be locked by somebody, while another makes it anew.
 */
export async function fileLock(name: string, url: DatabaseURL): Promise<Exclusion> {
  const raw = await open(`${url.database}.${encodeURIComponent(name)}.lock`)
  // The default makes one of libuv's few threads sleep.
  await exec(raw, 'PRAGMA busy_timeout = 0')
  return {
    async tryEnter() {
      try {
        await exec(raw, 'BEGIN EXCLUSIVE')
        return true
      } catch (error) {
        if (messageOf(error).startsWith('SQLITE_BUSY')) return false
        throw error
      }
    },
    leave: () => new Promise((resolve) => raw.close(() => resolve())),
  }
}

async function open(file: string): Promise<RawConnection> {
  // Not loaded by those who only use PostgreSQL.
  const { default: sqlite3 } = await import('sqlite3')
  return new Promise((resolve, reject) => {
    const raw = new sqlite3.Database(file, (error) => {
      if (error) reject(error)
      else resolve(raw)
    })
  })
}
