/** Notices that the schema which a connection sees has changed, whoever changed it. */
import { outermost, targetOf } from '../backend/sql-pieces'
import { TextCache } from '../backend/text-cache'
import { own, type SqliteConnection } from './driver'
import { SQLITE_LEXICON } from './lexicon'
import type { SharedFile } from './shared-file'

/** How often it looks for changes by other processes: a PRAGMA costs a fifth of the shortest query. */
const CHECK_EVERY_MILLIS = 1000

export class SchemaWatch {
  readonly #connection: SqliteConnection
  readonly #file: SharedFile
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

  constructor(connection: SqliteConnection, file: SharedFile) {
    this.#connection = connection
    this.#file = file
  }

  get isDue(): boolean {
    return (
      this.#seen !== this.#file.schemaChanges || performance.now() - this.#checkedAt >= CHECK_EVERY_MILLIS
    )
  }

  async check(isInTransaction: boolean): Promise<void> {
    const { schemaChanges } = this.#file
    this.#checkedAt = performance.now()
    const [row] = await this.#connection.all(own('PRAGMA schema_version'))
    const version = row?.['schema_version']
    // A transaction goes on to see the schema of its beginning: what has changed since is to be seen after it.
    if (!isInTransaction) this.#seen = schemaChanges
    if (version === this.#version && !this.#hasAttached) return
    this.#version = version
    // Statements are prepared by the schema that the connection knows; a read makes it look whether that is still so.
    await this.#connection.all(own('SELECT 1 FROM sqlite_schema LIMIT 1'))
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

  /** Whether the last id is that of this INSERT: SQLite keeps an older one where no row with an id was inserted. */
  givesId(sql: string): boolean | Promise<boolean> {
    const tables = this.#withoutRowid
    return tables === null ? this.#findTables(sql) : this.#givesId.for(sql, () => insertsId(sql, tables))
  }

  async #findTables(sql: string): Promise<boolean> {
    const found = await this.#connection.all(
      own('SELECT lower(name) AS name FROM pragma_table_list WHERE wr'),
    )
    const tables = (this.#withoutRowid = new Set<unknown>(found.map(({ name }) => name)))
    return insertsId(sql, tables)
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
