/** What the connections of this process to one SQLite file share: whose turn it is to write, and its columns. */
import { resolve } from 'node:path'
import { Mutex } from '../mutex'
import type { DatabaseURL } from '../url'
import { Columns } from './sqlite-columns'

export interface SqliteFile {
  /** One at a time takes a connection in order to write, … */
  readonly door: Mutex
  /** … and one at a time writes. */
  readonly writer: Mutex
  readonly columns: Columns
  readonly isMemory: boolean
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
    columns: new Columns(),
    isMemory: url.isMemory,
  }
  if (path !== null) files.set(path, file)
  return file
}
