/** What the connections of this process to one SQLite file share: whose turn it is to write, and changes of its schema. */
import { resolve } from 'node:path'
import { Mutex } from '../mutex'
import type { DatabaseURL } from '../url'

export interface SqliteFile {
  /** One at a time takes a connection in order to write, … */
  readonly door: Mutex
  /** … and one at a time writes. */
  readonly writer: Mutex
  readonly isMemory: boolean
  /** How often its schema was changed by this process. */
  changes: number
}

/**
 * SQLite takes one writer at a time, and its own way of waiting, a busy handler, sleeps in one of libuv's four
 * threads: a few waiters there, and the writer that they wait for cannot run its next statement. So writers wait
 * here instead, and all Databases of this process on one file share the queue.
 */
const files = new Map<string, SqliteFile>()

export function fileOf(url: DatabaseURL): SqliteFile {
  const path = url.isMemory ? null : resolve(url.database)
  const known = path === null ? undefined : files.get(path)
  if (known !== undefined) return known
  const file = {
    door: new Mutex(),
    writer: new Mutex(),
    isMemory: url.isMemory,
    changes: 0,
  }
  if (path !== null) files.set(path, file)
  return file
}
