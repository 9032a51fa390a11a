/** What the columns of a query are called and declared as, which sqlite3 does not tell. */
import type { Row, Statement } from './dialect'
import { messageOf } from './driver-error'
import { all, exec, type RawConnection } from './sqlite-driver'
import type { Column } from './sqlite-types'
import { SQLITE_LEXICON } from './sqlite-lexicon'
import { itemsOf, trimmed, withoutPlaceholders } from './sql-text'

/** Queries whose columns are known. Bounded, since a program may make texts without end. */
const CACHE_SIZE = 500
const COMPARE_EVERY_MILLIS = 1000

const NAME = '("(?:[^"]|"")+"|`[^`]+`|\\[[^\\]]+\\]|[\\p{L}_][\\p{L}\\p{N}_$]*)'

/** The table that a statement with RETURNING writes to. */
const TARGET = new RegExp(
  `\\b(?:into|update(?:\\s+or\\s+\\w+)?|delete\\s+from)\\s+(?:${NAME}\\s*\\.\\s*)?${NAME}`,
  'iu',
)

/** A column that is returned as it is, perhaps under another name. */
const RETURNED = new RegExp(`^(?:${NAME}\\s*\\.\\s*)?${NAME}(?:\\s+(?:as\\s+)?${NAME})?$`, 'iu')

// Of tables only: a view has its types from them, and one that is broken cannot be asked.
const TYPED_TABLES = `
  SELECT 1 FROM (
    SELECT name FROM sqlite_schema WHERE type = 'table' UNION SELECT name FROM sqlite_temp_schema WHERE type = 'table'
  ) AS t, pragma_table_xinfo(t.name) AS c
  WHERE c.type LIKE 'bool%' OR c.type LIKE 'json%' LIMIT 1`

export class Columns {
  readonly #known = new Map<string, readonly Column[] | null>()
  #hasTypes: boolean | null = null
  /** So that what was asked before a change is not remembered after it. */
  #generation = 0
  #version: unknown
  #comparedAt = -Infinity

  /** Whether any column of the database was declared as a type that SQLite does not have. */
  async hasTypes(raw: RawConnection): Promise<boolean> {
    await this.compare(raw)
    if (this.#hasTypes !== null) return this.#hasTypes
    const generation = this.#generation
    // Where it cannot be found out, there may be some.
    const found = await all(raw, TYPED_TABLES).then(
      (rows) => rows.length > 0,
      () => true,
    )
    if (generation === this.#generation) this.#hasTypes = found
    return found
  }

  /** Null for what cannot be found out, such as the columns of a PRAGMA. */
  async of(
    raw: RawConnection,
    { sql, facts }: Statement,
    isReadOnly: boolean,
  ): Promise<readonly Column[] | null> {
    await this.compare(raw)
    const known = this.#known.get(sql)
    if (known !== undefined) return known
    const generation = this.#generation
    // PRAGMA table_info answers from what the connection knows; a read makes it look whether that is still so.
    await all(raw, 'SELECT 1 FROM sqlite_schema LIMIT 1')
    const columns = facts.isRead ? await this.#ofQuery(raw, sql, isReadOnly) : await this.#ofTarget(raw, sql)
    if (columns === undefined) return null
    if (this.#known.size >= CACHE_SIZE) this.#known.clear()
    if (generation === this.#generation) this.#known.set(sql, columns)
    return columns
  }

  /** Looks whether another process has changed the schema: once a second, or now. */
  async compare(raw: RawConnection, isUrgent = false): Promise<void> {
    const now = performance.now()
    if (!isUrgent && now - this.#comparedAt < COMPARE_EVERY_MILLIS) return
    this.#comparedAt = now
    const [row] = await all(raw, 'PRAGMA schema_version')
    const version = row?.['schema_version']
    if (version !== this.#version) this.forget()
    this.#version = version
  }

  /** After a change of the schema. */
  forget(): void {
    this.#generation += 1
    this.#known.clear()
    this.#hasTypes = null
  }

  /**
   * By a temporary view, which SQLite describes without running the query. A name that occurs twice is told as `name`
   * and `name:1`.
   */
  async #ofQuery(
    raw: RawConnection,
    sql: string,
    isReadOnly: boolean,
  ): Promise<readonly Column[] | null | undefined> {
    // A view is written to the temporary database only, but `query_only` forbids even that.
    if (isReadOnly) await exec(raw, 'PRAGMA query_only = OFF')
    try {
      await exec(raw, 'DROP VIEW IF EXISTS temp.millpond_columns')
      await exec(raw, `CREATE TEMP VIEW millpond_columns AS ${withoutPlaceholders(sql, SQLITE_LEXICON)}`)
      const columns = (await all(raw, 'PRAGMA temp.table_info(millpond_columns)')).map(toColumn)
      await exec(raw, 'DROP VIEW temp.millpond_columns')
      return columns
    } catch (error) {
      // Any other error says nothing about the query, which may be asked about again.
      return messageOf(error).startsWith('SQLITE_ERROR') ? null : undefined
    } finally {
      if (isReadOnly) await exec(raw, 'PRAGMA query_only = ON')
    }
  }

  /** Those that a RETURNING gives as they are in the table; what it computes has no declared type. */
  async #ofTarget(raw: RawConnection, sql: string): Promise<readonly Column[] | null> {
    const text = trimmed(sql, SQLITE_LEXICON, false)
    const target = TARGET.exec(text)?.[2]
    const list = /\breturning\b((?:(?!\breturning\b)[^])*)$/i.exec(text)?.[1]
    if (target === undefined || list === undefined) return null
    const table = (await all(raw, `PRAGMA table_xinfo(${target})`)).map(toColumn)
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
