/** Rewrites statements: with parts left out, to search them or to ask the database about them. */
import type { Lexicon } from '../driver/statement'
import { matchAt, skipOpaque } from './parser'

/** Replaces each placeholder of the driver. `replace` gets it and the index of its value, from 0. */
export function replacePlaceholders(
  sql: string,
  lexicon: Lexicon,
  replace: (placeholder: string, index: number) => string,
): string {
  let result = ''
  let at = 0
  let index = -1
  while (at < sql.length) {
    const end = skipOpaque(sql, at, lexicon)
    const placeholder = end > at ? null : matchAt(lexicon.driverPlaceholder, sql, at)
    const next = end > at ? end : at + (placeholder?.length ?? 1)
    if (placeholder === null) {
      result += sql.slice(at, next)
    } else {
      // A numbered placeholder counts from 1; one without a number stands for the next value.
      index = /\d/.test(placeholder) ? Number(placeholder.slice(1)) - 1 : index + 1
      result += replace(placeholder, index)
    }
    at = next
  }
  return result
}

/** Returns the text up to the first semicolon, without comments unless `keepsComments`. */
export function firstStatement(sql: string, lexicon: Lexicon, keepsComments: boolean): string {
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
 * Replaces literals, quoted names, comments and all that is in parentheses by blanks. The rest keeps its place, and can be
 * searched for keywords.
 */
export function blankNested(sql: string, lexicon: Lexicon): string {
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

const NAME = '(?:"(?:[^"]|"")+"|\'[^\']+\'|`[^`]+`|\\[[^\\]]+\\]|[\\p{L}_][\\p{L}\\p{N}_$]*)'
/** The keyword before the table that a statement writes to. */
const BEFORE_TARGET = /\b(?:into|update(?:\s+or\s+\w+)?|from)\b/i
const TARGET = new RegExp(`^\\s*((?:${NAME}\\s*\\.\\s*)?(${NAME}))(\\s+as\\s+${NAME})?`, 'iu')

/** Matches the table that a statement writes to, with its alias. */
function findTarget(sql: string, lexicon: Lexicon): RegExpExecArray | null {
  const before = BEFORE_TARGET.exec(blankNested(sql, lexicon))
  return before === null ? null : TARGET.exec(sql.slice(before.index + before[0].length))
}

/** Returns the table that a statement writes to, without quotes and schema; null if it is not found. */
export function targetTableOf(sql: string, lexicon: Lexicon): string | null {
  const name = findTarget(firstStatement(sql, lexicon, false), lexicon)?.[2] ?? null
  return name !== null && /^["'`[]/.test(name) ? name.slice(1, -1).replaceAll('""', '"') : name
}

/** Turns the RETURNING of a statement into a query, to ask for its columns. Null if it cannot be written. */
export function returningAsQuery(sql: string, lexicon: Lexicon): string | null {
  const plain = firstStatement(sql, lexicon, false)
  const found = blankNested(plain, lexicon)
  const verb = /\b(?:insert|replace|update|delete)\b/i.exec(found)
  const returning = [...found.matchAll(/\breturning\b/gi)].at(-1)
  const [, table, , alias = ''] = findTarget(plain, lexicon) ?? []
  if (returning === undefined || table === undefined) return null
  const before = plain.slice(0, verb?.index ?? 0)
  return `${before}SELECT ${plain.slice(returning.index + returning[0].length)} FROM ${table}${alias}`
}
