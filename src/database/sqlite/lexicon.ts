/** How SQLite writes what may hide a colon or a keyword: https://www.sqlite.org/lang_expr.html#varparam */
import type { Lexicon } from '../driver/parsed-sql'

/** Pragmas that belong to the file, that the session itself puts back, or whose value in parentheses is only a question. */
const LASTING = new RegExp(
  '\\b(?:query_only|foreign_keys|user_version|application_id|journal_mode|auto_vacuum|encoding|page_size|schema_version|wal_checkpoint|' +
    'incremental_vacuum|optimize|table_\\w+|index_\\w+|foreign_key_\\w+|integrity_check|quick_check)\\b',
  'i',
)

/** The schema of what belongs to the connection. */
const TEMPORARY = /(?:\btemp|"temp"|\[temp\]|`temp`|'temp')\s*\./i

export const SQLITE_LEXICON: Lexicon = {
  dollarQuotes: false,
  bracketNames: true,
  driverPlaceholder: /\?\d*|[$@:][\p{L}\p{N}_]+/uy,
  changesSession: (words, sql) =>
    /^(?:ATTACH|DETACH|CREATE TEMP)/.test(words) ||
    (words.startsWith('CREATE ') && TEMPORARY.test(sql)) ||
    (words.startsWith('PRAGMA') && /[=(]/.test(sql) && !LASTING.test(words)),
}
