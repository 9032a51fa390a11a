/** A SQLite file: how it is opened, what the connections of this process to it share, and how its locks are waited for. */
import { realpathSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { Canceller } from '../context/canceller'
import { Limits } from '../context/limits'
import { Mutex, type Unlock } from '../context/mutex'
import { messageOf } from '../driver/driver-error'
import type { NamedLock } from '../driver/session'
import { ConfigurationError } from '../errors'
import type { DatabaseURL } from '../url'
import { OPEN_FLAGS, type SqliteConnection, type SqliteDriver } from './driver'
import { ownStatement } from './statements'

const BUSY_TIMEOUT_MILLIS = 5000
/** How long the first connection waits for others to let it switch the file to a write-ahead log. */
const SWITCH_TIMEOUT_MILLIS = 1000
/** How long SQLite waits at each attempt, and the longest pause between attempts, which is random to spread processes. */
const ATTEMPT_MILLIS = 20
/** Errors after which a file keeps its rollback journal: another connection reads it, or it cannot be written. */
const KEEPS_JOURNAL = /^SQLITE_(?:BUSY|LOCKED|READONLY|CANTOPEN|IOERR|PERM)/

export class DatabaseFile {
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
  #mayBecomeWal = true
  #driver = ''
  #connections = 0

  constructor(isMemory: boolean) {
    this.isMemory = isMemory
  }

  /**
   * Opens a connection. `mode` and `immutable` mean what https://www.sqlite.org/uri.html says: nothing changes an immutable file.
   *
   * @throws ConfigurationError when this process has the file open by another driver. SQLite's locks belong to the process, and
   * closing the file in one driver drops those of the other: https://www.sqlite.org/howtocorrupt.html, section 2.2
   */
  async open(
    filename: string,
    { name, open }: SqliteDriver,
    { options: { mode, immutable } }: DatabaseURL,
  ): Promise<SqliteConnection> {
    if (this.#connections > 0 && this.#driver !== name && !this.isMemory) {
      throw new ConfigurationError(
        `This process has the file open by the driver ${this.#driver}, and would lose committed rows if it opened it by ` +
          `${name} too. Use one driver for one file.`,
      )
    }
    this.#driver = name
    this.#connections += 1
    try {
      if (immutable === '1') {
        const file = encodeURI(filename).replace(/[?#]/g, encodeURIComponent)
        return await open(`file:${file}?immutable=1`, OPEN_FLAGS.READONLY | OPEN_FLAGS.URI)
      }
      if (mode === 'ro') return await open(filename, OPEN_FLAGS.READONLY)
      return await open(filename, OPEN_FLAGS.READWRITE | (mode === 'rw' ? 0 : OPEN_FLAGS.CREATE))
    } catch (error) {
      this.#connections -= 1
      throw error
    }
  }

  /** Prepares a new connection for its session, or closes it. */
  async setUp(connection: SqliteConnection): Promise<void> {
    const set = (pragma: string): Promise<unknown> => connection.all(ownStatement(`PRAGMA ${pragma}`))
    try {
      if (!this.isMemory) {
        await set(`busy_timeout = ${this.#mayBecomeWal ? SWITCH_TIMEOUT_MILLIS : 0}`)
        this.#mayBecomeWal = await switchToWal(connection)
        // With a rollback journal, NORMAL can corrupt the file in a power failure.
        if (this.#mayBecomeWal) await set('synchronous = NORMAL')
      }
      await set(`busy_timeout = ${BUSY_TIMEOUT_MILLIS}`)
      await set('foreign_keys = ON')
    } catch (error) {
      await this.close(connection)
      throw error
    }
  }

  async close(connection: SqliteConnection): Promise<void> {
    await connection.close()
    this.#connections -= 1
  }
}

const files = new Map<string, DatabaseFile>()

/** Returns the DatabaseFile of a URL: the same one for all paths that lead to the file. */
export function databaseFileOf(url: DatabaseURL): DatabaseFile {
  if (url.isMemory) return new DatabaseFile(true)
  const path = realPath(resolve(url.database))
  const file = files.get(path) ?? new DatabaseFile(false)
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

async function switchToWal(connection: SqliteConnection): Promise<boolean> {
  try {
    const [row] = await connection.all(ownStatement('PRAGMA journal_mode = WAL'))
    return row?.['journal_mode'] === 'wal'
  } catch (error) {
    if (KEEPS_JOURNAL.test(messageOf(error))) return false
    throw error
  }
}

export function isBusy(error: unknown): boolean {
  return messageOf(error).startsWith('SQLITE_BUSY')
}

const makeCanceller = (): Canceller =>
  new Canceller(() => new Error('The statement was cancelled while it waited.'))

/** The waits of one session for what another connection has locked, in this process or in another. They can be aborted. */
export class BusyWaits {
  #canceller = makeCanceller()
  #timeoutMillis = 0

  /** Takes over the connection's busy timeout, which this library or `afterConnect` has set, and shortens it to one attempt. */
  async takeOver(connection: SqliteConnection): Promise<void> {
    const [row] = await connection.all(ownStatement('PRAGMA busy_timeout'))
    this.#timeoutMillis = Number(row?.['timeout'])
    const attemptMillis = Math.min(this.#timeoutMillis, ATTEMPT_MILLIS)
    await connection.all(ownStatement(`PRAGMA busy_timeout = ${attemptMillis}`))
  }

  lock(mutex: Mutex): Promise<Unlock> {
    return mutex.lock(Limits.until(this.#canceller))
  }

  /**
   * Repeats a call while the file is locked, for as long as the busy timeout. SQLite's busy handler would sleep in a libuv
   * thread, where nothing can abort it, and would soon try only ten times a second: beside processes that write all the time it
   * finds the file locked for seconds.
   */
  async retry<T>(call: () => Promise<T>): Promise<T> {
    const limits = Limits.until(this.#canceller)
    const deadline = performance.now() + this.#timeoutMillis
    for (;;) {
      limits.check()
      try {
        return await call()
      } catch (error) {
        if (!isBusy(error) || performance.now() >= deadline) throw error
      }
      await pause(Math.random() * ATTEMPT_MILLIS)
    }
  }

  abort(): void {
    this.#canceller.abort()
    this.#canceller = makeCanceller()
  }
}

/** Makes a lock for a database in memory, which belongs to one Database. `mutex`: that of its name there. */
export function memoryLock(mutex: Mutex): NamedLock {
  let unlock: Unlock | null = null
  return {
    tryLock: () => Promise.resolve((unlock ??= mutex.tryLock()) !== null),
    unlock: () => Promise.resolve(unlock?.()),
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
