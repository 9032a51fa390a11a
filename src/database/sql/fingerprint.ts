/** What may be told of statements: their text without anything that differs from call to call, and their tables. */

const MAX_TEXT_LENGTH = 4000
const MAX_FINGERPRINT_LENGTH = 500
const MAX_SUMMARY_LENGTH = 255
const MAX_CACHED = 500

/**
 * Matches comments and space; then what may contain a quote: names, strings of each kind, dollar quotes. A literal without
 * an end extends to the end of the text, so that no part of it is taken for SQL.
 */
const TOKEN =
  /(?<space>\s+|--[^\n]*|\/\*[^]*?(?:\*\/|$))|(?<name>"(?:[^"]|"")*(?:"|$)|`(?:[^`]|``)*(?:`|$))|(?<value>[eE]'(?:[^'\\]|\\[^]|'')*(?:'|$)|(?:[bBnNxX]|[uU]&)?'(?:[^']|'')*(?:'|$)|\$(?<tag>(?:[\p{L}_][\p{L}\p{N}_]*)?)\$[^]*?(?:\$\k<tag>\$|$)|[$?]\d+|(?<![:\w])[:@$][\p{L}_][\p{L}\p{N}_]*|\?(?![|&-])|(?<![\p{L}\p{N}_.])(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?[\p{L}\p{N}_]*)|(?<word>[\p{L}_][\p{L}\p{N}_$]*)|(?<other>[^])/gu

/** A list of placeholders in parentheses, and rows of such lists. */
const LIST = /\( ?\?(?: ?, ?\?)* ?\)/g
const ROWS = /(\(\u2026\))(?: ?, ?\(\u2026\))+/g

/** What may be told of a statement to everybody: nothing in it differs from call to call, and nothing is a value. */
export interface Description {
  /** Its text without values, for a span. */
  readonly text: string
  /** The same, cut to a length at which it can be kept and shown for each statement. */
  readonly fingerprint: string
  /** Its first word, such as SELECT, or OTHER. */
  readonly operation: string
  /** Its operation and its tables: `SELECT posts users`. */
  readonly summary: string
}

const cache = new Map<string, Description>()

/**
 * Returns the text with `?` for literals, numbers and placeholders, `(…)` for lists of them, one blank for space, and without
 * comments: two calls of one statement look the same, however many values they had, and show no value. Names stay.
 */
export function fingerprintOf(sql: string): string {
  return describeStatement(sql).fingerprint
}

/** Returns what may be told of a statement; kept for a text that comes again. */
export function describeStatement(sql: string): Description {
  const cached = cache.get(sql)
  if (cached !== undefined) return cached
  const found = makeDescription(sql)
  // Programs have few statements; one with many must not fill the memory.
  if (cache.size >= MAX_CACHED) cache.clear()
  if (sql.length <= MAX_TEXT_LENGTH) cache.set(sql, found)
  return found
}

function makeDescription(sql: string): Description {
  const operation = firstWordOf(sql)
  const tables = new Tables()
  let text = ''
  for (const { 0: token, groups = {} } of sql.slice(0, MAX_TEXT_LENGTH).matchAll(TOKEN)) {
    if (groups['space'] !== undefined) {
      if (!text.endsWith(' ')) text += ' '
      continue
    }
    text += groups['value'] === undefined ? token : '?'
    tables.read(token, groups)
  }
  text = text
    .trim()
    .replace(/;$/, '')
    .replace(LIST, (list) => (list.includes(',') ? '(…)' : list))
    .replace(/\b(in|values) ?\( ?\? ?\)/gi, '$1 (…)')
    .replace(ROWS, '$1')
  const fingerprint =
    text.length > MAX_FINGERPRINT_LENGTH ? `${text.slice(0, MAX_FINGERPRINT_LENGTH)}…` : text
  return { text, fingerprint, operation, summary: [operation, ...tables.names].reduce(joined) }
}

/** Adds a table to a summary, which the conventions of OpenTelemetry want to be short and of whole names. */
function joined(summary: string, table: string): string {
  return summary.length + 1 + table.length > MAX_SUMMARY_LENGTH ? summary : `${summary} ${table}`
}

/** Words between FROM, or the like, and the name of the table. */
const BEFORE_TABLE = /^(?:only|lateral|if|not|exists)$/i

/** Finds the names of tables in the tokens of a statement. */
class Tables {
  readonly names: string[] = []
  /** For each open parenthesis, whether a FROM of its SELECT or DELETE is to come: not that of `extract(year from at)`. */
  readonly #expectsFrom = [false]
  /** `table`: a name follows; `named`: one has come, and a dot may follow; `qualified`: the dot has come. */
  #state: 'table' | 'named' | 'qualified' | 'other' = 'other'
  #lastWord = ''

  read(token: string, { word, name = word }: Readonly<Record<string, string | undefined>>): void {
    const state = this.#state
    this.#state = 'other'
    if (token === '(') this.#expectsFrom.push(false)
    if (token === ')' && this.#expectsFrom.length > 1) this.#expectsFrom.pop()
    if (state === 'named' && token === '.') this.#state = 'qualified'
    else if (state === 'table' && word !== undefined && BEFORE_TABLE.test(word)) this.#state = 'table'
    else if ((state === 'table' || state === 'qualified') && name !== undefined) {
      const unquoted = name.replace(/["`]/g, '')
      this.names.push(state === 'table' ? unquoted : `${this.names.pop() ?? ''}.${unquoted}`)
      this.#state = 'named'
    } else if (word !== undefined) this.#readKeyword(word.toUpperCase())
    if (word !== undefined) this.#lastWord = word.toUpperCase()
  }

  #readKeyword(word: string): void {
    const last = this.#expectsFrom.length - 1
    if (word === 'SELECT' || word === 'DELETE') this.#expectsFrom[last] = true
    // IS DISTINCT FROM compares two values.
    if (word === 'FROM' && this.#expectsFrom[last] === true && this.#lastWord !== 'DISTINCT') {
      this.#expectsFrom[last] = false
      this.#state = 'table'
    }
    if (
      word === 'JOIN' ||
      word === 'INTO' ||
      word === 'TABLE' ||
      (word === 'UPDATE' && this.#lastWord === '')
    )
      this.#state = 'table'
  }
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
