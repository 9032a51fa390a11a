/** The lexicon of SQLite: its placeholders and quotes, and which statements change the session: https://www.sqlite.org/lang_expr.html#varparam */
import type { Lexicon } from '../driver/statement'

/** Pragmas that need no reset: they belong to the file, the session resets them, or their value is only an argument. */
const NEEDS_NO_RESET = new RegExp(
  '\\b(?:query_only|foreign_keys|user_version|application_id|journal_mode|auto_vacuum|encoding|page_size|schema_version|wal_checkpoint|' +
    'incremental_vacuum|optimize|table_\\w+|index_\\w+|foreign_key_\\w+|integrity_check|quick_check)\\b',
  'i',
)

/** The schema of temporary objects, which belong to the connection. */
const TEMP_SCHEMA = /(?:\btemp|"temp"|\[temp\]|`temp`|'temp')\s*\./i

export const SQLITE_LEXICON: Lexicon = {
  dollarQuotes: false,
  bracketNames: true,
  driverPlaceholder: /\?\d*|[$@:][\p{L}\p{N}_]+/uy,
  changesSession: (words, sql) =>
    /^(?:ATTACH|DETACH|CREATE TEMP)/.test(words) ||
    (words.startsWith('CREATE ') && TEMP_SCHEMA.test(sql)) ||
    (words.startsWith('PRAGMA') && /[=(]/.test(sql) && !NEEDS_NO_RESET.test(words)),
}
