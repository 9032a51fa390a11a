/** Notices that the schema which a connection sees has changed, whoever changed it. */
import type { Row } from '../backend/dialect'
import { outermost, targetOf } from '../backend/sql-pieces'
import { TextCache } from '../backend/text-cache'
import type { Ask } from './busy-retry'
import { own, type SqliteConnection } from './driver'
import { SQLITE_LEXICON } from './lexicon'
import type { SharedFile } from './shared-file'

/** How often it looks for changes by other processes: a PRAGMA costs a fifth of the shortest query. */
const CHECK_EVERY_MILLIS = 1000

export class SchemaWatch {
  readonly #connection: SqliteConnection
  readonly #file: SharedFile
  readonly #ask: Ask
  #version: unknown
  #checkedAt = -Infinity
  /** How many changes by this process it has seen. */
  #seen = 0
  /** With files attached, whose changes `schema_version` does not tell. */
  #hasAttached = false
  /** This connection has changed it, and may still roll that back. */
  isChanged = false
  #withoutRowid: ReadonlySet<unknown> | null = null
  /** Whether the last id is that of these INSERTs. */
  readonly #givesId = new TextCache<boolean>(500)

  constructor(connection: SqliteConnection, file: SharedFile, ask: Ask) {
    this.#connection = connection
    this.#file = file
    this.#ask = ask
  }

  get isDue(): boolean {
    return (
      this.#seen !== this.#file.schemaChanges || performance.now() - this.#checkedAt >= CHECK_EVERY_MILLIS
    )
  }

  async check(isInTransaction: boolean): Promise<void> {
    const { schemaChanges } = this.#file
    this.#checkedAt = performance.now()
    const [row] = await this.#all('PRAGMA schema_version')
    const version = row?.['schema_version']
    // A transaction goes on to see the schema of its beginning: what has changed since is to be seen after it.
    if (!isInTransaction) this.#seen = schemaChanges
    if (version === this.#version && !this.#hasAttached) return
    this.#version = version
    // Statements are prepared by the schema that the connection knows; a read makes it look whether that is still so.
    await this.#all('SELECT 1 FROM sqlite_schema LIMIT 1')
    this.#forget()
  }

  /** Called after a change by this connection, or when one may have been rolled back. */
  change(isAttach = false): void {
    this.isChanged = true
    this.#hasAttached ||= isAttach
    this.#forget()
  }

  /** Tells the other connections, which see a change once its transaction has ended. */
  tell(): void {
    if (!this.isChanged) return
    this.isChanged = false
    this.#file.schemaChanges += 1
    this.#forget()
  }

  /** Whether the last id will be that of this INSERT: SQLite keeps an older one where no row with an id was inserted. */
  givesId(sql: string, isInTransaction: boolean): boolean | Promise<boolean> {
    const tables = this.#withoutRowid
    if (tables === null || this.isDue) return this.#findTables(sql, isInTransaction)
    return this.#givesId.for(sql, () => insertsId(sql, tables))
  }

  async #findTables(sql: string, isInTransaction: boolean): Promise<boolean> {
    if (this.isDue) await this.check(isInTransaction)
    if (this.#withoutRowid === null) {
      const found = await this.#all('SELECT lower(name) AS name FROM pragma_table_list WHERE wr')
      this.#withoutRowid = new Set(found.map(({ name }) => name))
    }
    return insertsId(sql, this.#withoutRowid)
  }

  #all(sql: string): Promise<Row[]> {
    return this.#ask(() => this.#connection.all(own(sql)))
  }

  #forget(): void {
    this.#withoutRowid = null
    this.#givesId.clear()
    this.#connection.forgetSchema()
  }
}

function insertsId(sql: string, withoutRowid: ReadonlySet<unknown>): boolean {
  if (/\bdo\b/i.test(sql) && /\bdo\s+update\b/i.test(outermost(sql, SQLITE_LEXICON))) return false
  if (withoutRowid.size === 0) return true
  const target = targetOf(sql, SQLITE_LEXICON)
  return target !== null && !withoutRowid.has(target)
}
