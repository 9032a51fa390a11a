/** What the columns of a query are called and declared as, which sqlite3 does not tell. */
import type { Row, Statement } from './dialect'
import { messageOf } from './driver-error'
import { all, exec, type RawConnection } from './sqlite-driver'
import type { Column } from './sqlite-types'
import { type Lexicon, withoutPlaceholders } from './sql-text'

/** Queries whose columns are known. Bounded, since a program may make texts without end. */
const CACHE_SIZE = 500

/** The table that a statement with RETURNING writes to. */
const TARGET =
  /\b(?:into|update(?:\s+or\s+\w+)?|delete\s+from)\s+(?:(?:"[^"]+"|`[^`]+`|\[[^\]]+\]|\w+)\s*\.\s*)?("[^"]+"|`[^`]+`|\[[^\]]+\]|\w+)/i

const TYPED_TABLES = `
  SELECT 1 FROM (SELECT name FROM sqlite_schema UNION SELECT name FROM sqlite_temp_schema) AS t, pragma_table_xinfo(t.name) AS c
  WHERE c.type LIKE 'bool%' OR c.type LIKE 'json%' LIMIT 1`

export class Columns {
  readonly #known = new Map<string, readonly Column[] | null>()
  readonly #lexicon: Lexicon
  #hasTypes: boolean | null = null

  constructor(lexicon: Lexicon) {
    this.#lexicon = lexicon
  }

  /** Whether any column of the database was declared as a type that SQLite does not have. */
  async hasTypes(raw: RawConnection): Promise<boolean> {
    return (this.#hasTypes ??= (await all(raw, TYPED_TABLES)).length > 0)
  }

  /** Null for what cannot be found out, such as the columns of a PRAGMA. */
  async of(
    raw: RawConnection,
    { sql, facts }: Statement,
    isReadOnly: boolean,
  ): Promise<readonly Column[] | null> {
    const known = this.#known.get(sql)
    if (known !== undefined) return known
    const columns = facts.isRead ? await this.#ofQuery(raw, sql, isReadOnly) : await this.#ofTarget(raw, sql)
    if (this.#known.size >= CACHE_SIZE) this.#known.clear()
    this.#known.set(sql, columns)
    return columns
  }

  /** After a change of the schema. One that another process makes goes unnoticed until this one makes one, too. */
  forget(): void {
    this.#known.clear()
    this.#hasTypes = null
  }

  /**
   * By a temporary view, which SQLite describes without running the query. A name that occurs twice is told as `name`
   * and `name:1`.
   */
  async #ofQuery(raw: RawConnection, sql: string, isReadOnly: boolean): Promise<readonly Column[] | null> {
    // A view is written to the temporary database only, but `query_only` forbids even that.
    if (isReadOnly) await exec(raw, 'PRAGMA query_only = OFF')
    try {
      await exec(raw, 'DROP VIEW IF EXISTS temp.millpond_columns')
      await exec(raw, `CREATE TEMP VIEW millpond_columns AS ${withoutPlaceholders(sql, this.#lexicon)}`)
      const columns = (await all(raw, 'PRAGMA temp.table_info(millpond_columns)')).map(toColumn)
      await exec(raw, 'DROP VIEW temp.millpond_columns')
      return columns
    } catch (error) {
      // That one says nothing about the query.
      if (/SQLITE_(?:INTERRUPT|BUSY|LOCKED)/.test(messageOf(error))) throw error
      return null
    } finally {
      if (isReadOnly) await exec(raw, 'PRAGMA query_only = ON')
    }
  }

  /** The columns of the table that is written to, whichever of them RETURNING names. */
  async #ofTarget(raw: RawConnection, sql: string): Promise<readonly Column[] | null> {
    const target = TARGET.exec(sql)?.[1]
    if (target === undefined) return null
    return (await all(raw, `PRAGMA table_xinfo(${target})`)).map(toColumn)
  }
}

function toColumn(row: Row): Column {
  return { name: String(row['name']), declared: String(row['type']) }
}
