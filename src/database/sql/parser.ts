/** Reads SQL as text: where its placeholders are, and whether it changes anything. */
import type { Lexicon, ParsedSql, Segment } from '../driver/parsed-sql'
import { BindError } from '../errors'
import { IDEMPOTENT_FUNCTIONS } from './idempotent-functions'

const BLANKS = /\s+/y
/** Digits and signs that say nothing here. */
const SIGNS = /[\d,=<>+*%^&|!~#]+/y
const WORD = /[\p{L}_][\p{L}\p{N}_$]*/uy
const NAME = /:\$?[\p{L}\p{M}\p{N}_]+/uy
const DOLLAR_TAG = /\$(?:[\p{L}_][\p{L}\p{N}_]*)?\$/uy

/** What may stand in front of a colon that is no placeholder: a slice `a[x:y]`, a path, the second of `::`. */
const NOT_BEFORE_PLACEHOLDER = /[\p{L}\p{N}_$:\])"'`]/u

/**
 * A statement up to the first word in its body, which has statements of its own: that of a function in SQL's own form
 * (PostgreSQL), or of a trigger (SQLite). Columns and triggers may be called `begin`, so that this word alone says nothing.
 */
const OPENS_BODY =
  /^CREATE (?:(?:OR REPLACE )?(?:FUNCTION|PROCEDURE) .*BEGIN ATOMIC|(?:TEMP(?:ORARY)? )?TRIGGER .*BEGIN (?:INSERT|REPLACE|UPDATE|DELETE|SELECT|VALUES|WITH))$/

/** SQLite's pragmas that change the file when they are given a value, and those that do in any case. */
const WRITING_PRAGMA =
  /^(?:journal_mode|user_version|application_id|auto_vacuum|encoding|page_size|schema_version)\s*[=(]|^(?:wal_checkpoint|incremental_vacuum|optimize)/i

/** They take some hundred megabytes of memory. */
const MAX_WORDS = 10_000_000

const READING = new Set(['SELECT', 'VALUES', 'TABLE', 'SHOW', 'EXPLAIN'])
// Without REPLACE, which is a function as well: the statement has INTO behind it.
const CHANGING = new Set(['INSERT', 'UPDATE', 'DELETE', 'MERGE', 'INTO'])

/**
 * Splits SQL at its `:name` placeholders. String literals, quoted names and comments are skipped whole, and
 * neither `::` casts nor PostgreSQL's `?` operators are taken for placeholders.
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
      // One of that name in another schema is another function.
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
    // What the later ones do is not looked at.
    changesSession: isMultiStatement || lexicon.changesSession(words.join(' '), sql),
  }
}

/** Tells the semicolon that ends a statement from one in parentheses, as in a rule of several commands, or in a body. */
class Nesting {
  #parentheses = 0
  #isInBody = false
  /** The word or sign before this place; empty for a literal or a name in quotes. */
  token = ''

  get isOpen(): boolean {
    return this.#parentheses > 0 || this.#isInBody
  }

  /** `words`: those up to here; the statement begins with the one at `start`. */
  addWord(words: readonly string[], start: number | undefined): void {
    const word = words.at(-1) ?? ''
    // Every statement of a body has its semicolon, so that no other END, such as that of a CASE, stands behind one.
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

/** Of the two things that begin with PREPARE, only one has to do with transactions. */
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

/** A parenthesis follows, be it behind spaces and comments. */
function isCalled(sql: string, at: number, lexicon: Lexicon): boolean {
  for (;;) {
    at = skipAt(BLANKS, sql, at)
    const end = sql[at] === '-' || sql[at] === '/' ? skipOpaque(sql, at, lexicon) : at
    if (end === at) return sql[at] === '('
    at = end
  }
}

/** `IN` or `NOT IN` when the placeholder is all that the parentheses hold. */
function isOpenList(sql: string, start: number, end: number): 'IN' | 'NOT IN' | null {
  const before = /\b(not\s+)?in\s*\(\s*$/i.exec(sql.slice(Math.max(0, start - 200), start))
  if (before === null || !/^\s*\)/.test(sql.slice(end, end + 200))) return null
  return before[1] === undefined ? 'IN' : 'NOT IN'
}

/** The end of the literal, quoted name or comment that starts here, or `at` when none does. */
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
    // Two of them are one in the text.
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

/** Where the match ends that begins here, or `at`. */
function skipAt(pattern: RegExp, sql: string, at: number): number {
  pattern.lastIndex = at
  return pattern.test(sql) ? pattern.lastIndex : at
}

export function matchAt(pattern: RegExp, sql: string, at: number): string | null {
  pattern.lastIndex = at
  return pattern.exec(sql)?.[0] ?? null
}
