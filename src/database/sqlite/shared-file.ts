/** What the connections of this process to one SQLite file share: the driver, the turn to write, the count of schema changes. */
import { realpathSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { ConfigurationError } from '../errors'
import { Mutex } from '../context/mutex'
import type { DatabaseURL } from '../url'

export class SharedFile {
  readonly isMemory: boolean
  /** Held to take a connection in order to write, so that waiting writers hold no connection. */
  readonly writeMutex = new Mutex()
  /**
   * Held to write. SQLite's own way of waiting, a busy handler, sleeps in one of libuv's four threads: a few waiters there
   * would keep the writer that they wait for from running its next statement.
   */
  readonly writer = new Mutex()
  /** How often this process has changed the schema. */
  schemaChanges = 0
  /** False once the file could not be switched to a write-ahead log. */
  mayBecomeWal = true
  #driver = ''
  #connections = 0

  constructor(isMemory: boolean) {
    this.isMemory = isMemory
  }

  /**
   * Counts a connection that is about to be opened.
   *
   * @throws ConfigurationError when this process has the file open by another driver. SQLite's locks belong to the process, and
   * closing the file in one driver drops those of the other: https://www.sqlite.org/howtocorrupt.html, section 2.2
   */
  addConnection(driver: string): void {
    if (this.#connections > 0 && this.#driver !== driver && !this.isMemory) {
      throw new ConfigurationError(
        `This process has the file open by the driver ${this.#driver}, and would lose committed rows if it opened it by ` +
          `${driver} too. Use one driver for one file.`,
      )
    }
    this.#driver = driver
    this.#connections += 1
  }

  removeConnection(): void {
    this.#connections -= 1
  }
}

const files = new Map<string, SharedFile>()

/** Returns the SharedFile of the URL's file: the same one for all paths that lead to the file. */
export function sharedFileOf(url: DatabaseURL): SharedFile {
  if (url.isMemory) return new SharedFile(true)
  const path = realPath(resolve(url.database))
  const file = files.get(path) ?? new SharedFile(false)
  files.set(path, file)
  return file
}

/** Resolves symbolic links in a path, whether the file exists or not. */
function realPath(path: string): string {
  try {
    return realpathSync.native(path)
  } catch {
    return dirname(path) === path ? path : join(realPath(dirname(path)), basename(path))
  }
}
