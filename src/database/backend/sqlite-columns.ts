/** What the columns of a query are called, in order, which sqlite3 does not tell. */
import { all, exec, type RawConnection } from './sqlite-driver'
import { type Lexicon, withoutPlaceholders } from './sql-text'

/** Queries whose columns are known. Bounded, since a program may make texts without end. */
const CACHE_SIZE = 500

/**
 * Finds them by a temporary view, which SQLite describes without running the query. A name that occurs twice is told
 * as `name` and `name:1`.
 */
export class ColumnNames {
  readonly #known = new Map<string, readonly string[] | null>()
  readonly #lexicon: Lexicon

  constructor(lexicon: Lexicon) {
    this.#lexicon = lexicon
  }

  /** Null for what cannot be a view, such as a PRAGMA. */
  async of(raw: RawConnection, sql: string, isReadOnly: boolean): Promise<readonly string[] | null> {
    const known = this.#known.get(sql)
    if (known !== undefined) return known
    const names = await this.#describe(raw, sql, isReadOnly)
    if (this.#known.size >= CACHE_SIZE) this.#known.clear()
    this.#known.set(sql, names)
    return names
  }

  /** After a change of the schema: `SELECT *` may have other columns now. */
  forget(): void {
    this.#known.clear()
  }

  async #describe(raw: RawConnection, sql: string, isReadOnly: boolean): Promise<readonly string[] | null> {
    // A view is written to the temporary database only, but `query_only` forbids even that.
    if (isReadOnly) await exec(raw, 'PRAGMA query_only = OFF')
    try {
      await exec(raw, `CREATE TEMP VIEW millpond_columns AS ${withoutPlaceholders(sql, this.#lexicon)}`)
      try {
        const rows = await all(raw, 'PRAGMA temp.table_info(millpond_columns)')
        return rows.map((row) => String(row['name']))
      } finally {
        await exec(raw, 'DROP VIEW temp.millpond_columns')
      }
    } catch {
      return null
    } finally {
      if (isReadOnly) await exec(raw, 'PRAGMA query_only = ON')
    }
  }
}

/**
 * The query with columns whose names are in order and occur once, so that a row as an object loses none of them.
 */
export function withDistinctColumns(sql: string, names: readonly string[]): string {
  const isPlain = new Set(names).size === names.length && names.every((name) => !/:\d+$|^\d+$/.test(name))
  if (isPlain) return sql
  return `WITH millpond(${names.map((_, index) => `c${index}`).join(', ')}) AS (${sql}) SELECT * FROM millpond`
}
