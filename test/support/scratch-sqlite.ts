/** Scratch databases as SQLite files in a temporary folder. */
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type sqlite3 from 'sqlite3'
import type { Scratch } from './scratch'

/** The drivers by their name in a URL. Two of them on one file in one process would lose rows, so the tests use the one they test. */
const DRIVERS = {
  sqlite3: () => require('sqlite3') as typeof sqlite3,
  appthreat: () => (require('@appthreat/sqlite3') as { default: typeof sqlite3 }).default,
} as const

export class ScratchSqlite implements Scratch {
  readonly dialect = 'sqlite'
  readonly driver: keyof typeof DRIVERS
  readonly title: string
  #folder: string | undefined
  #made = 0

  constructor(driver: keyof typeof DRIVERS) {
    this.driver = driver
    this.title = driver === 'sqlite3' ? 'SQLite' : `SQLite by ${driver}`
  }

  async create(): Promise<string> {
    this.#folder ??= await mkdtemp(path.join(tmpdir(), 'millpond-sqlite-'))
    const scheme = this.driver === 'sqlite3' ? 'sqlite' : `sqlite+${this.driver}`
    return `${scheme}:///${encodeURI(path.join(this.#folder, `test-${++this.#made}.db`))}`
  }

  async query(url: string, sql: string): Promise<Record<string, unknown>[]> {
    const driver = await this.open(url)
    const [error, rows] = await new Promise<[Error | null, Record<string, unknown>[]]>((resolve) => {
      driver.all<Record<string, unknown>>(sql, (failure, found) => resolve([failure, found]))
    })
    await new Promise((resolve) => driver.close(resolve))
    if (error) throw error
    return rows
  }

  /** A connection that the library does not know. */
  open(url: string, flags?: number): Promise<sqlite3.Database> {
    const { Database, OPEN_READWRITE } = DRIVERS[this.driver]()
    return new Promise((resolve, reject) => {
      const driver = new Database(fileOf(url), flags ?? OPEN_READWRITE, (error) =>
        error ? reject(error) : resolve(driver),
      )
    })
  }

  /** Sees a holder of the write lock; a read-only transaction cannot be seen from outside. */
  async openTransactions(url: string): Promise<string[]> {
    if (!existsSync(fileOf(url))) return []
    try {
      await this.query(url, 'begin immediate')
      return []
    } catch (error) {
      if (!String(error).includes('SQLITE_BUSY')) throw error
      return ['a transaction that has written']
    }
  }

  /** Sees whether the file is open: the last connection to close deletes the write-ahead log. */
  async connections(url: string): Promise<string[]> {
    if (!existsSync(fileOf(url))) return []
    // A process that was killed leaves its log behind; reading once and closing clears that away.
    await this.query(url, 'select name from sqlite_schema limit 1')
    return existsSync(`${fileOf(url)}-wal`) ? ['somebody has the file open'] : []
  }

  async closeConnections(): Promise<void> {
    // Only the holder of a file handle can close it.
  }

  async dropAll(): Promise<void> {
    if (this.#folder) await rm(this.#folder, { recursive: true, force: true })
    this.#folder = undefined
  }
}

function fileOf(url: string): string {
  return decodeURI(url.replace(/^[^:]*:\/\/\//, ''))
}
