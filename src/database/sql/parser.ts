/** The parser of SQL text: finds its placeholders, and whether it changes anything. */
import type { Lexicon, ParsedSql, Segment } from '../driver/statement'
import { BindError, ConfigurationError } from '../errors'
import { IDEMPOTENT_FUNCTIONS } from './idempotent-functions'

const BLANKS = /\s+/y
/** Digits and signs that mean nothing to the parser. */
const SIGNS = /[\d,=<>+*%^&|!~#]+/y
const WORD = /[\p{L}_][\p{L}\p{N}_$]*/uy
const NAME = /:\$?[\p{L}\p{M}\p{N}_]+/uy
const DOLLAR_TAG = /\$(?:[\p{L}_][\p{L}\p{N}_]*)?\$/uy

/** A character before a colon that starts no placeholder: in a slice `a[x:y]`, a path, the second of `::`. */
const NOT_BEFORE_PLACEHOLDER = /[\p{L}\p{N}_$:\])"'`]/u

/**
 * Matches the words of a statement up to the start of a body that has statements of its own: of a function with BEGIN
 * ATOMIC (PostgreSQL), or of a trigger (SQLite). Columns and triggers may be named `begin`, so this word is not enough.
 */
const OPENS_BODY =
  /^CREATE (?:(?:OR REPLACE )?(?:FUNCTION|PROCEDURE) .*BEGIN ATOMIC|(?:TEMP(?:ORARY)? )?TRIGGER .*BEGIN (?:INSERT|REPLACE|UPDATE|DELETE|SELECT|VALUES|WITH))$/

/** SQLite's pragmas that change the file when they are given a value, and those that always do. */
const WRITING_PRAGMA =
  /^(?:journal_mode|user_version|application_id|auto_vacuum|encoding|page_size|schema_version)\s*[=(]|^(?:wal_checkpoint|incremental_vacuum|optimize)/i

/** So many words take some hundred megabytes of memory. */
const MAX_WORDS = 10_000_000

const READING = new Set(['SELECT', 'VALUES', 'TABLE', 'SHOW', 'EXPLAIN'])
// Without REPLACE, which is a function as well; as a statement it is followed by INTO.
const CHANGING = new Set(['INSERT', 'UPDATE', 'DELETE', 'MERGE', 'INTO'])

/**
 * Splits SQL at its `:name` placeholders, and classifies it. String literals, quoted names and comments are skipped;
 * `::` casts and PostgreSQL's `?` operators are no placeholders.
 */
export function parseSql(sql: string, lexicon: Lexicon): ParsedSql {
  const segments: Segment[] = []
  const names = new Set<string>()
  const words: string[] = []
  const calls: string[] = []
  let foundPlaceholder: string | null = null
  const nesting = new Nesting()
  let isEnded = false
  let isQualified = false
  const starts = [0]
  let start = 0
  let at = 0
  while (at < sql.length) {
    const blanksEnd = skipAt(BLANKS, sql, at)
    if (blanksEnd > at) {
      at = blanksEnd
      continue
    }
    const signsEnd = skipAt(SIGNS, sql, at)
    if (signsEnd > at) {
      nesting.token = ''
      isQualified = false
      at = signsEnd
      continue
    }
    const end = skipOpaque(sql, at, lexicon)
    if (end > at) {
      if (sql[at] === '"') {
        if (isCalled(sql, end, lexicon)) calls.push(sql.slice(at, end))
        isQualified = false
      }
      if (!isComment(sql, at)) nesting.token = ''
      at = end
      continue
    }
    const name = sql[at] === ':' ? matchAt(NAME, sql, at) : null
    if (
      name !== null &&
      sql[at + 1] !== undefined &&
      !/\d/.test(sql[at + 1] ?? '') &&
      !NOT_BEFORE_PLACEHOLDER.test(sql[at - 1] ?? ' ')
    ) {
      const before = sql.slice(start, at)
      const list = isOpenList(sql, at, at + name.length)
      segments.push({ text: before })
      segments.push({ name: name.slice(1), isList: list !== null, isNegated: list === 'NOT IN' })
      names.add(name.slice(1))
      nesting.token = ''
      at += name.length
      start = at
      continue
    }
    const word = matchAt(WORD, sql, at)
    if (word !== null) {
      if (isEnded) starts.push(words.length)
      isEnded = false
      if (words.length === MAX_WORDS)
        throw new BindError('The text is too long to be read. Bind its values.', '')
      words.push(word.toUpperCase())
      // A function with a schema is another one than the known function of that name.
      if (isCalled(sql, at + word.length, lexicon)) calls.push((isQualified ? '.' : '') + word.toUpperCase())
      isQualified = false
      nesting.addWord(words, starts.at(-1))
      at += word.length
      continue
    }
    const driverPlaceholder = matchAt(lexicon.driverPlaceholder, sql, at)
    if (driverPlaceholder !== null) {
      foundPlaceholder ??= driverPlaceholder
      nesting.token = ''
      at += driverPlaceholder.length
      continue
    }
    const character = sql[at] ?? ''
    isQualified = character === '.'
    nesting.addSign(character)
    isEnded ||= character === ';' && words.length > 0 && !nesting.isOpen
    at += 1
  }
  segments.push({ text: sql.slice(start) })
  const facts = classify(words, sql)
  const isMultiStatement = starts.length > 1
  const isRead = facts.isRead && !isMultiStatement
  return {
    segments,
    names: [...names],
    foundPlaceholder,
    isMultiStatement,
    ...facts,
    laterVerbs: starts.slice(1).map((at) => verbAt(words, at)),
    isRead,
    isRepeatable: isRead && calls.every((call) => IDEMPOTENT_FUNCTIONS.has(call)),
    // Only the first statement is examined, so several count as changing it.
    changesSession: isMultiStatement || lexicon.changesSession(words.join(' '), sql),
  }
}

/** Tells a semicolon that ends a statement from one in a body, or in parentheses, as in a rule of several commands. */
class Nesting {
  #parentheses = 0
  #isInBody = false
  /** The last word or sign; empty after a literal or a quoted name. */
  token = ''

  /** True inside of parentheses or of a body. */
  get isOpen(): boolean {
    return this.#parentheses > 0 || this.#isInBody
  }

  /** Adds the last of `words`, which are all words so far. `start`: the index of the statement's first word. */
  addWord(words: readonly string[], start: number | undefined): void {
    const word = words.at(-1) ?? ''
    // Every statement of a body ends in a semicolon, so only the END of the body can follow one, not that of a CASE.
    if (this.#isInBody) this.#isInBody = word !== 'END' || (this.token !== ';' && this.token !== 'ATOMIC')
    else if (this.token === 'BEGIN' && this.#parentheses === 0)
      this.#isInBody = OPENS_BODY.test(words.slice(start).join(' '))
    this.token = word
  }

  addSign(character: string): void {
    if (character === '(') this.#parentheses += 1
    if (character === ')') this.#parentheses = Math.max(0, this.#parentheses - 1)
    this.token = character
  }
}

function isComment(sql: string, at: number): boolean {
  return sql[at] === '-' || sql[at] === '/'
}

/** Returns the word at `at`, or `PREPARE TRANSACTION`, which unlike PREPARE of a statement ends a transaction. */
function verbAt(words: readonly string[], at: number): string {
  const [verb = '', next] = words.slice(at, at + 2)
  return verb === 'PREPARE' && next === 'TRANSACTION' ? 'PREPARE TRANSACTION' : verb
}

function classify(
  words: readonly string[],
  sql: string,
): Pick<ParsedSql, 'verb' | 'isRead' | 'hasReturning'> {
  const first = verbAt(words, 0)
  const main =
    first === 'WITH' ? (words.find((word) => CHANGING.has(word) && word !== 'INTO') ?? 'SELECT') : first
  const isPragmaRead =
    first === 'PRAGMA' && !WRITING_PRAGMA.test(sql.replace(/^[^]*?pragma\s+(?:\w+\.)?/i, ''))
  const isExplained = first === 'EXPLAIN' && words.includes('ANALYZE')
  const locks = words.some(
    (word, index) => word === 'FOR' && /^(UPDATE|NO|SHARE|KEY)$/.test(words[index + 1] ?? ''),
  )
  const changes = words.some((word) => CHANGING.has(word))
  return {
    verb: main,
    isRead: isPragmaRead || (READING.has(main) && !changes && !isExplained && !locks),
    hasReturning: words.includes('RETURNING'),
  }
}

/** True if a parenthesis follows, after blanks and comments or at once. */
function isCalled(sql: string, at: number, lexicon: Lexicon): boolean {
  for (;;) {
    at = skipAt(BLANKS, sql, at)
    const end = sql[at] === '-' || sql[at] === '/' ? skipOpaque(sql, at, lexicon) : at
    if (end === at) return sql[at] === '('
    at = end
  }
}

/** Returns `IN` or `NOT IN` if the placeholder stands alone in the parentheses of one; else null. */
function isOpenList(sql: string, start: number, end: number): 'IN' | 'NOT IN' | null {
  const before = /\b(not\s+)?in\s*\(\s*$/i.exec(sql.slice(Math.max(0, start - 200), start))
  if (before === null || !/^\s*\)/.test(sql.slice(end, end + 200))) return null
  return before[1] === undefined ? 'IN' : 'NOT IN'
}

/** Returns the end of the literal, quoted name or comment that starts at `at`; `at` if none does. */
export function skipOpaque(sql: string, at: number, lexicon: Lexicon): number {
  switch (sql[at]) {
    case "'":
      return lexicon.dollarQuotes && /(?:^|[^\p{L}\p{N}_$])e$/iu.test(sql.slice(Math.max(0, at - 2), at))
        ? endOfQuoted(sql, at, "'", true)
        : endOfQuoted(sql, at, "'", false)
    case '"':
      return endOfQuoted(sql, at, '"', false)
    case '`':
      return lexicon.bracketNames ? endOfQuoted(sql, at, '`', false) : at
    case '[':
      return lexicon.bracketNames ? endAfter(sql, sql.indexOf(']', at), 1) : at
    case '-':
      return sql[at + 1] === '-' ? endAfter(sql, sql.indexOf('\n', at), 1) : at
    case '/':
      return sql[at + 1] === '*' ? endOfComment(sql, at, lexicon.dollarQuotes) : at
    case '$': {
      const tag =
        lexicon.dollarQuotes && !/[\p{L}\p{N}_$]/u.test(sql[at - 1] ?? ' ')
          ? matchAt(DOLLAR_TAG, sql, at)
          : null
      return tag === null ? at : endAfter(sql, sql.indexOf(tag, at + tag.length), tag.length)
    }
    default:
      return at
  }
}

function endOfQuoted(sql: string, at: number, quote: string, backslashes: boolean): number {
  if (!backslashes) {
    let end = sql.indexOf(quote, at + 1)
    // A doubled quote stands for one quote in the text.
    while (end >= 0 && sql[end + 1] === quote) end = sql.indexOf(quote, end + 2)
    return endAfter(sql, end, 1)
  }
  for (let i = at + 1; i < sql.length; i += 1) {
    if (sql[i] === '\\') i += 1
    else if (sql[i] === quote && sql[i + 1] === quote) i += 1
    else if (sql[i] === quote) return i + 1
  }
  return sql.length
}

function endOfComment(sql: string, at: number, nests: boolean): number {
  if (!nests) return endAfter(sql, sql.indexOf('*/', at + 2), 2)
  let depth = 1
  COMMENT_EDGE.lastIndex = at + 2
  for (let edge = COMMENT_EDGE.exec(sql); edge !== null; edge = COMMENT_EDGE.exec(sql)) {
    depth += edge[0] === '/*' ? 1 : -1
    if (depth === 0) return COMMENT_EDGE.lastIndex
  }
  return sql.length
}

const COMMENT_EDGE = /\/\*|\*\//g

function endAfter(sql: string, found: number, length: number): number {
  return found < 0 ? sql.length : found + length
}

/** Returns the end of the match that starts at `at`; `at` if there is none. */
function skipAt(pattern: RegExp, sql: string, at: number): number {
  pattern.lastIndex = at
  return pattern.test(sql) ? pattern.lastIndex : at
}

export function matchAt(pattern: RegExp, sql: string, at: number): string | null {
  pattern.lastIndex = at
  return pattern.exec(sql)?.[0] ?? null
}

/** Returns the error for a text of several statements. */
export function multiStatementError(text: string): BindError {
  return new BindError(
    'The text holds more than one statement. Run them one by one, in a transaction if need be.',
    text,
  )
}

/** Returns the error for a text that holds no statement, which Knex makes of `insert([])`. */
export function emptyQueryError(): ConfigurationError {
  return new ConfigurationError('The query is empty: it holds no statement.')
}
