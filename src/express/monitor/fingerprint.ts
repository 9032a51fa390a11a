/** Fingerprints of statements: their text without anything that differs from call to call. */

const MAX_TEXT_LENGTH = 4000
const MAX_FINGERPRINT_LENGTH = 500
const MAX_CACHED = 500

/**
 * Matches comments and space; then what may contain a quote: names, strings of each kind, dollar quotes. A literal without
 * an end extends to the end of the text, so that no part of it is taken for SQL.
 */
const TOKEN =
  /(?<space>\s+|--[^\n]*|\/\*[^]*?(?:\*\/|$))|(?<name>"(?:[^"]|"")*(?:"|$)|`(?:[^`]|``)*(?:`|$))|(?<value>[eE]'(?:[^'\\]|\\[^]|'')*(?:'|$)|(?:[bBnNxX]|[uU]&)?'(?:[^']|'')*(?:'|$)|\$(?<tag>[\p{L}_]*)\$[^]*?(?:\$\k<tag>\$|$)|[$?]\d+|(?<![:\w])[:@$][\p{L}_][\p{L}\p{N}_]*|\?(?![|&-])|(?<![\p{L}\p{N}_.])(?:0[xX][\da-fA-F]+|(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?))|(?<word>[\p{L}_][\p{L}\p{N}_$]*)|(?<other>[^])/gu

/** A list of placeholders in parentheses, and rows of such lists. */
const LIST = /\( ?\?(?: ?, ?\?)* ?\)/g
const ROWS = /(\(\u2026\))(?: ?, ?\(\u2026\))+/g

interface CachedFingerprint {
  readonly fingerprint: string
  readonly operation: string
}

const cache = new Map<string, CachedFingerprint>()

/**
 * Returns the text with `?` for literals, numbers and placeholders, `(…)` for lists of them, one blank for space, and without
 * comments: two calls of one statement look the same, however many values they had, and show no value. Names stay.
 */
export function fingerprintOf(sql: string): string {
  return cachedOf(sql).fingerprint
}

function cachedOf(sql: string): CachedFingerprint {
  const cached = cache.get(sql)
  if (cached !== undefined) return cached
  const found = { fingerprint: normalise(sql), operation: firstWordOf(sql) }
  // Programs have few statements; one with many must not fill the memory.
  if (cache.size >= MAX_CACHED) cache.clear()
  if (sql.length <= MAX_TEXT_LENGTH) cache.set(sql, found)
  return found
}

function normalise(sql: string): string {
  let text = ''
  for (const { 0: token, groups = {} } of sql.slice(0, MAX_TEXT_LENGTH).matchAll(TOKEN)) {
    if (groups['value'] !== undefined) text += '?'
    else if (groups['space'] === undefined) text += token
    else if (!text.endsWith(' ')) text += ' '
  }
  const short = text
    .trim()
    .replace(/;$/, '')
    .replace(LIST, (list) => (list.includes(',') ? '(…)' : list))
    .replace(/\b(in|values) ?\( ?\? ?\)/gi, '$1 (…)')
    .replace(ROWS, '$1')
  return short.length > MAX_FINGERPRINT_LENGTH ? `${short.slice(0, MAX_FINGERPRINT_LENGTH)}…` : short
}

const OPERATIONS = new Set(
  'SELECT INSERT UPDATE DELETE MERGE WITH VALUES BEGIN COMMIT ROLLBACK SAVEPOINT RELEASE CREATE ALTER DROP TRUNCATE SET SHOW EXPLAIN PRAGMA CALL COPY LOCK VACUUM ANALYZE DISCARD'.split(
    ' ',
  ),
)

/** Returns the first word, such as SELECT, or OTHER: a label of a metric must have few values, whatever is run. */
export function operationOf(sql: string): string {
  // The fingerprint of a long text is not cached, and takes longer to make than this.
  return cache.get(sql)?.operation ?? firstWordOf(sql)
}

function firstWordOf(sql: string): string {
  const word = /^\s*([a-z]+)/i.exec(sql)?.[1]?.toUpperCase() ?? ''
  return OPERATIONS.has(word) ? word : 'OTHER'
}
