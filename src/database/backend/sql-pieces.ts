/** Statements with something left out: to ask about them, or to look for what stands in them. */
import { type Lexicon, matchAt, skipOpaque } from './sql-text'

/** The same statement with NULL for every placeholder of the driver: for asking about it without running it. */
export function withoutPlaceholders(sql: string, lexicon: Lexicon): string {
  let result = ''
  let at = 0
  while (at < sql.length) {
    const end = skipOpaque(sql, at, lexicon)
    const placeholder = end > at ? null : matchAt(lexicon.foreign, sql, at)
    const next = end > at ? end : at + (placeholder?.length ?? 1)
    result += placeholder === null ? sql.slice(at, next) : 'NULL'
    at = next
  }
  return result
}

/** The statement without what stands behind its semicolon, and without comments where `keepsComments` is false. */
export function trimmed(sql: string, lexicon: Lexicon, keepsComments: boolean): string {
  let result = ''
  let at = 0
  while (at < sql.length && sql[at] !== ';') {
    const end = Math.max(skipOpaque(sql, at, lexicon), at + 1)
    const isComment = /^(?:--|\/\*)/.test(sql.slice(at, at + 2)) && end > at + 1
    result += isComment && !keepsComments ? ' ' : sql.slice(at, end)
    at = end
  }
  return result
}

/**
 * The statement with blanks for literals, names in quotes, comments and whatever stands in parentheses: what is left can be
 * searched for keywords, and is where it was.
 */
export function outermost(sql: string, lexicon: Lexicon): string {
  let result = ''
  let depth = 0
  let at = 0
  while (at < sql.length) {
    const end = skipOpaque(sql, at, lexicon)
    const next = Math.max(end, at + 1)
    if (sql[at] === '(') depth += 1
    result += end > at || depth > 0 ? ' '.repeat(next - at) : sql[at]
    if (sql[at] === ')') depth -= 1
    at = next
  }
  return result
}

/** What stands between the commas of a list, those in parentheses and literals left out. */
export function itemsOf(list: string, lexicon: Lexicon): readonly string[] {
  const items: string[] = []
  let depth = 0
  let start = 0
  let at = 0
  while (at < list.length) {
    if (list[at] === '(') depth += 1
    if (list[at] === ')') depth -= 1
    if (list[at] === ',' && depth === 0) {
      items.push(list.slice(start, at))
      start = at + 1
    }
    at = Math.max(skipOpaque(list, at, lexicon), at + 1)
  }
  return [...items, list.slice(start)]
}
