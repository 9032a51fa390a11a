/** What the columns of a query are called and declared as, which sqlite3 does not tell. */
import type { Row, Statement } from './dialect'
import { messageOf } from './driver-error'
import { itemsOf, outermost, trimmed, withoutPlaceholders } from './sql-pieces'
import { all, exec, type RawConnection } from './sqlite-driver'
import type { SqliteFile } from './sqlite-file'
import { SQLITE_LEXICON } from './sqlite-lexicon'
import type { SqlitePrepared } from './sqlite-prepared'
import type { Writably } from './sqlite-transactions'
import type { Column } from './sqlite-types'
import { TextCache } from './text-cache'

/** How many queries there are whose columns are known. */
const CACHE_SIZE = 500
/** A PRAGMA costs a fifth of the shortest query, too much to look for other processes every time. */
const COMPARE_EVERY_MILLIS = 1000

const NAME = '("(?:[^"]|"")+"|`[^`]+`|\\[[^\\]]+\\]|[\\p{L}_][\\p{L}\\p{N}_$]*)'

/** What stands in front of the table that a statement with RETURNING writes to. */
const BEFORE_TARGET = /\b(?:into|update(?:\s+or\s+\w+)?|from)\b/i
const TARGET = new RegExp(`^\\s*(?:${NAME}\\s*\\.\\s*)?${NAME}`, 'iu')

/** A column that is returned as it is, perhaps under another name. */
const RETURNED = new RegExp(`^(?:${NAME}\\s*\\.\\s*)?${NAME}(?:\\s+(?:as\\s+)?${NAME})?$`, 'iu')

// Of tables only: a view has its types from them.
const TYPED_TABLES = `
  SELECT 1 FROM pragma_table_list AS t, pragma_table_xinfo(t.name, t.schema) AS c
  WHERE t.type IN ('table', 'virtual') AND (c.type LIKE 'bool%' OR c.type LIKE 'json%') LIMIT 1`

/** When the connection saw what it sees now: by the clock, and by the changes that this process has made. */
interface Moment {
  readonly at: number
  readonly changes: number
}

/** What one connection knows of columns. Each sees the schema of its own moment, and tables of its own. */
export class Columns {
  readonly #raw: RawConnection
  readonly #prepared: SqlitePrepared
  readonly #file: SqliteFile
  readonly #writably: Writably
  readonly #known = new TextCache<readonly Column[] | null>(CACHE_SIZE)
  #hasTypes: boolean | null = null
  #version: unknown
  #compared: Moment = { at: -Infinity, changes: 0 }
  /** Since when it has been in a transaction, which sees nothing of what others have changed since then. */
  #began: Moment | null = null
  /** With files attached, whose changes `schema_version` does not tell. */
  #isManifold = false

  constructor(raw: RawConnection, prepared: SqlitePrepared, file: SqliteFile, writably: Writably) {
    this.#raw = raw
    this.#prepared = prepared
    this.#file = file
    this.#writably = writably
  }

  /** Whether any column of the database was declared as a type that SQLite does not have. */
  async hasTypes(): Promise<boolean> {
    if (this.#isDue) await this.compare()
    // Where it cannot be found out, there may be some.
    this.#hasTypes ??= await all(this.#raw, TYPED_TABLES).then(
      (rows) => rows.length > 0,
      () => true,
    )
    return this.#hasTypes
  }

  /** The same, where that is known already; else null. */
  get knowsTypes(): boolean | null {
    return this.#isDue ? null : this.#hasTypes
  }

  /** Those of a statement, where they are known already; else undefined. */
  known({ sql }: Statement): readonly Column[] | null | undefined {
    return this.#isDue ? undefined : this.#known.get(sql)
  }

  /** Null for what cannot be found out, such as the columns of a PRAGMA. */
  async of({ sql, facts }: Statement): Promise<readonly Column[] | null> {
    if (this.#isDue) await this.compare()
    const known = this.#known.get(sql)
    if (known !== undefined) return known
    // PRAGMA table_info answers from what the connection knows; a read makes it look whether that is still so.
    await all(this.#raw, 'SELECT 1 FROM sqlite_schema LIMIT 1')
    const columns = facts.isRead
      ? await this.#writably(() => this.#ofQuery(trimmed(sql, SQLITE_LEXICON, true)))
      : await this.#ofTarget(trimmed(sql, SQLITE_LEXICON, false))
    if (columns === undefined) return null
    this.#known.set(sql, columns)
    return columns
  }

  /** Looks whether the schema is still the one that is known. */
  async compare(): Promise<void> {
    const moment = this.#began ?? this.#now()
    const [row] = await this.#prepared.ask('PRAGMA schema_version')
    const version = row?.['schema_version']
    if (version !== this.#version || this.#isManifold) this.forget()
    this.#version = version
    this.#compared = moment
  }

  /** A transaction has begun. */
  begin(): void {
    this.#began = this.#now()
  }

  /** … and has ended. */
  end(): void {
    this.#began = null
  }

  /** After a change of the schema by this connection. */
  forget(): void {
    this.#known.clear()
    this.#hasTypes = null
  }

  attach(): void {
    this.#isManifold = true
  }

  get #isDue(): boolean {
    if (this.#began !== null) return this.#compared !== this.#began
    const { at, changes } = this.#compared
    return changes !== this.#file.changes || performance.now() - at >= COMPARE_EVERY_MILLIS
  }

  #now(): Moment {
    return { at: performance.now(), changes: this.#file.changes }
  }

  /**
   * By a temporary view, which SQLite describes without running the query. A name that occurs twice is told as `name`
   * and `name:1`.
   */
  async #ofQuery(sql: string): Promise<readonly Column[] | null | undefined> {
    const raw = this.#raw
    try {
      await exec(raw, `CREATE TEMP VIEW millpond_columns AS ${withoutPlaceholders(sql, SQLITE_LEXICON)}`)
      return (await all(raw, 'PRAGMA temp.table_info(millpond_columns)')).map(toColumn)
    } catch (error) {
      // Any other error says nothing about the query, which may be asked about again.
      return messageOf(error).startsWith('SQLITE_ERROR') ? null : undefined
    } finally {
      // One that is broken would be in the way of every change of the schema.
      await exec(raw, 'DROP VIEW IF EXISTS temp.millpond_columns')
    }
  }

  /** Those that a RETURNING gives as they are in the table; what it computes has no declared type. */
  async #ofTarget(sql: string): Promise<readonly Column[] | null> {
    const keywords = outermost(sql, SQLITE_LEXICON)
    const before = BEFORE_TARGET.exec(keywords)
    const returning = [...keywords.matchAll(/\breturning\b/gi)].at(-1)
    if (before === null || returning === undefined) return null
    const [, schema, target] = TARGET.exec(sql.slice(before.index + before[0].length)) ?? []
    if (target === undefined) return null
    const list = sql.slice(returning.index + returning[0].length)
    const pragma = `PRAGMA ${schema === undefined ? '' : `${schema}.`}table_xinfo(${target})`
    const table = (await all(this.#raw, pragma)).map(toColumn)
    return itemsOf(list, SQLITE_LEXICON).flatMap((item): Column | readonly Column[] => {
      if (item.trim() === '*') return table
      const [, , column, alias] = RETURNED.exec(item.trim()) ?? []
      const found = table.find(
        ({ name }) => column !== undefined && name.toLowerCase() === plain(column).toLowerCase(),
      )
      return { name: plain(alias ?? column ?? item.trim()), declared: found?.declared ?? '' }
    })
  }
}

function plain(name: string): string {
  return /^["`[]/.test(name) ? name.slice(1, -1).replaceAll('""', '"') : name
}

function toColumn(row: Row): Column {
  return { name: String(row['name']), declared: String(row['type']) }
}
