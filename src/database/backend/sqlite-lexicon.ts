/** How SQLite writes what may hide a colon or a keyword: https://www.sqlite.org/lang_expr.html#varparam */
import type { Lexicon } from './sql-text'

export const SQLITE_LEXICON: Lexicon = {
  dollarQuotes: false,
  bracketNames: true,
  foreign: /\?\d*|[$@:][\p{L}\p{N}_]+/uy,
}
