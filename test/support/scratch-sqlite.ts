/** Scratch databases as SQLite files in a temporary folder. */
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { Database as Driver, OPEN_READWRITE } from 'sqlite3'
import type { Scratch } from './scratch'

export class ScratchSqlite implements Scratch {
  readonly dialect = 'sqlite'
  readonly title = 'SQLite'
  #folder: string | undefined
  #made = 0

  async create(): Promise<string> {
    this.#folder ??= await mkdtemp(path.join(tmpdir(), 'millpond-sqlite-'))
    return `sqlite:///${encodeURI(path.join(this.#folder, `test-${++this.#made}.db`))}`
  }

  async query(url: string, sql: string): Promise<Record<string, unknown>[]> {
    const driver = await open(fileOf(url))
    try {
      return await new Promise((resolve, reject) => {
        driver.all<Record<string, unknown>>(sql, (error, rows) => (error ? reject(error) : resolve(rows)))
      })
    } finally {
      await new Promise((resolve) => driver.close(resolve))
    }
  }

  /** Sees whoever holds the write lock; a transaction that only reads cannot be seen from outside. */
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

  /** Sees whether somebody has the file open: the last one to close it deletes the write-ahead log. */
  async connections(url: string): Promise<string[]> {
    if (!existsSync(fileOf(url))) return []
    // A process that was killed leaves its log behind; reading once and closing clears that away.
    await this.query(url, 'select name from sqlite_schema limit 1')
    return existsSync(`${fileOf(url)}-wal`) ? ['somebody has the file open'] : []
  }

  async closeConnections(): Promise<void> {
    // Nobody but the holder of a file handle can close it.
  }

  async dropAll(): Promise<void> {
    if (this.#folder) await rm(this.#folder, { recursive: true, force: true })
    this.#folder = undefined
  }
}

function fileOf(url: string): string {
  return decodeURI(url.slice('sqlite:///'.length))
}

function open(file: string): Promise<Driver> {
  return new Promise((resolve, reject) => {
    const driver = new Driver(file, OPEN_READWRITE, (error) => (error ? reject(error) : resolve(driver)))
  })
}
