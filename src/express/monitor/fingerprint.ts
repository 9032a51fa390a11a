/** What a statement is called in lists: its text without anything that differs from call to call. */

const MOST_READ = 4000
const MOST_KEPT = 500
const MOST_KNOWN = 500

/**
 * Comments and space; then what may hide a quote: names, strings of each kind, dollar quotes. A literal that does not
 * end goes on to the end of the text, so that no part of it is taken for SQL.
 */
const TOKEN =
  /(?<space>\s+|--[^\n]*|\/\*[^]*?(?:\*\/|$))|(?<name>"(?:[^"]|"")*(?:"|$)|`(?:[^`]|``)*(?:`|$))|(?<value>[eE]'(?:[^'\\]|\\[^]|'')*(?:'|$)|(?:[bBnNxX]|[uU]&)?'(?:[^']|'')*(?:'|$)|\$(?<tag>[\p{L}_]*)\$[^]*?(?:\$\k<tag>\$|$)|[$?]\d+|(?<![:\w])[:@$][\p{L}_][\p{L}\p{N}_]*|\?(?![|&-])|(?<![\p{L}\p{N}_.])(?:0[xX][\da-fA-F]+|(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?))|(?<word>[\p{L}_][\p{L}\p{N}_$]*)|(?<other>[^])/gu

/** A list in parentheses, and rows of such lists. */
const LIST = /\( ?\?(?: ?, ?\?)* ?\)/g
const ROWS = /(\(\u2026\))(?: ?, ?\(\u2026\))+/g

interface Known {
  readonly fingerprint: string
  readonly operation: string
}

const known = new Map<string, Known>()

/**
 * Literals, numbers and placeholders become `?`, lists of them `(…)`, space one blank, and comments go: two calls of one
 * statement look the same, however many values they had, and no value is to be seen. What differs in its names differs.
 */
export function fingerprintOf(sql: string): string {
  return knownOf(sql).fingerprint
}

function knownOf(sql: string): Known {
  const before = known.get(sql)
  if (before !== undefined) return before
  const found = { fingerprint: normalise(sql), operation: firstWordOf(sql) }
  // Programs have few statements; one that has many must not fill the memory.
  if (known.size >= MOST_KNOWN) known.clear()
  if (sql.length <= MOST_READ) known.set(sql, found)
  return found
}

function normalise(sql: string): string {
  let text = ''
  for (const { 0: token, groups = {} } of sql.slice(0, MOST_READ).matchAll(TOKEN)) {
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
  return short.length > MOST_KEPT ? `${short.slice(0, MOST_KEPT)}…` : short
}

const OPERATIONS = new Set(
  'SELECT INSERT UPDATE DELETE MERGE WITH VALUES BEGIN COMMIT ROLLBACK SAVEPOINT RELEASE CREATE ALTER DROP TRUNCATE SET SHOW EXPLAIN PRAGMA CALL COPY LOCK VACUUM ANALYZE DISCARD'.split(
    ' ',
  ),
)

/** The first word, such as SELECT, or OTHER: a label of a metric must have few values, whatever it is asked. */
export function operationOf(sql: string): string {
  // A long text is not kept, and its fingerprint takes longer than this.
  return known.get(sql)?.operation ?? firstWordOf(sql)
}

function firstWordOf(sql: string): string {
  const word = /^\s*([a-z]+)/i.exec(sql)?.[1]?.toUpperCase() ?? ''
  return OPERATIONS.has(word) ? word : 'OTHER'
}
