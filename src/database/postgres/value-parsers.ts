/** Parsers of PostgreSQL's texts: pg's own, but for types where pg's value loses something or cannot be bound again. */
import pg from 'pg'

export type Parser = (text: string) => unknown

/** Finds the parser of a type. */
export interface TypeParsers {
  getTypeParser(oid: number, format: 'text'): Parser
}

/** pg's parser for types that it does not know: it returns the text. No type has oid 0, so no program has replaced it. */
export const IDENTITY_PARSER = pg.types.getTypeParser(0 as never, 'text') as Parser

const { DATE, TIMESTAMP, TIMESTAMPTZ, INTERVAL, NUMERIC, CIRCLE } = pg.types.builtins
const POINT = 600

/** A value that a parser cannot read. The message completes the sentence "… a value that cannot be read: ". */
export class UnreadableError extends Error {}

/** A parser that replaces pg's own for a type. */
interface ParserOverride {
  /** A text and pg's value for it: a parser that returns another value was set by the program, and is kept. */
  readonly sample: readonly [text: string, value: unknown]
  /** Returns the parser to use, which may call pg's own. */
  read(this: void, pgParser: Parser): Parser
}

const SCALAR_OVERRIDES: Readonly<Record<number, ParserOverride>> = {
  // pg returns a Date of midnight in the local time zone, which is another day in other zones.
  [DATE]: { sample: ['0044-03-15 BC', new Date(-43, 2, 15)], read: () => readDate },
  // pg returns null for a text that it cannot read.
  [TIMESTAMP]: { sample: ['0044-03-15 01:02:03 BC', new Date(-43, 2, 15, 1, 2, 3)], read: timestampParser },
  [TIMESTAMPTZ]: {
    sample: ['0044-03-15 01:02:03+00 BC', new Date(Date.UTC(-43, 2, 15, 1, 2, 3))],
    read: timestampParser,
  },
  // pg returns an empty interval for a text that it cannot read.
  [INTERVAL]: { sample: ['-1 days', { days: -1 }], read: intervalParser },
  // pg's values cannot be bound.
  [POINT]: { sample: ['(1,2)', { x: 1, y: 2 }], read: () => readPoint },
  [CIRCLE]: { sample: ['<(1,2),3>', { x: 1, y: 2, radius: 3 }], read: () => readCircle },
}

/** Element types of arrays that pg parses: those above, and numeric, of whose elements pg makes numbers that lose digits. */
const ELEMENT_TYPES: Readonly<Record<number, number>> = {
  1115: TIMESTAMP,
  1182: DATE,
  1185: TIMESTAMPTZ,
  1187: INTERVAL,
  1017: POINT,
  1231: NUMERIC,
}

const OVERRIDES: Readonly<Record<number, ParserOverride>> = {
  ...SCALAR_OVERRIDES,
  ...Object.fromEntries(Object.entries(ELEMENT_TYPES).map(([oid, element]) => [oid, arrayOverride(element)])),
}

/** The parsers, in the form of pg's option `types`. */
export const TYPE_PARSERS = {
  getTypeParser(oid: number, format: 'text' | 'binary' = 'text'): Parser {
    const pgParser = pg.types.getTypeParser(oid, format) as Parser
    const override = OVERRIDES[oid]
    return override !== undefined && format === 'text' && isPgParser(pgParser, override)
      ? override.read(pgParser)
      : pgParser
  },
}

const knownParsers = new WeakMap<ParserOverride, { readonly parser: Parser; readonly isPgParser: boolean }>()

/** Returns whether a parser is pg's own. It is judged by its result, because it may be replaced before this file loads. */
function isPgParser(parser: Parser, override: ParserOverride): boolean {
  let last = knownParsers.get(override)
  if (last?.parser !== parser) {
    const [text, value] = override.sample
    last = { parser, isPgParser: JSON.stringify(parseOrUndefined(parser, text)) === JSON.stringify(value) }
    knownParsers.set(override, last)
  }
  return last.isPgParser
}

function parseOrUndefined(parser: Parser, text: string): unknown {
  try {
    return parser(text)
  } catch {
    return undefined
  }
}

function arrayOverride(element: number): ParserOverride {
  const [text, value] = SCALAR_OVERRIDES[element]?.sample ?? ['1.50', 1.5]
  return {
    sample: [`{"${text}"}`, [value]],
    read: () => (texts) => readArray(texts, ',', TYPE_PARSERS.getTypeParser(element)),
  }
}

const OTHER_FORMAT = 'the session has another DateStyle or IntervalStyle'

function readDate(text: string): string {
  // A faster check than the pattern, which nearly all dates pass.
  if (text.length === 10 && text.charCodeAt(4) === HYPHEN && text.charCodeAt(7) === HYPHEN) return text
  if (!/^(?:\d{4,}-\d\d-\d\d(?: BC)?|-?infinity)$/.test(text)) throw new UnreadableError(OTHER_FORMAT)
  return text
}

const HYPHEN = 45

function timestampParser(pgParser: Parser): Parser {
  return (text) => {
    const moment = pgParser(text)
    if (moment === null) throw new UnreadableError(OTHER_FORMAT)
    if (moment instanceof Date && Number.isNaN(moment.getTime()))
      throw new UnreadableError('it is beyond what a Date can hold')
    return moment
  }
}

const INTERVAL_TEXT =
  /^(?:[+-]?\d+ years?(?: |$))?(?:[+-]?\d+ mons?(?: |$))?(?:[+-]?\d+ days?(?: |$))?(?:[+-]?\d+:\d\d:\d\d(?:\.\d+)?)?$/

function intervalParser(pgParser: Parser): Parser {
  return (text) => {
    if (/^-?infinity$/.test(text)) return text.startsWith('-') ? -Infinity : Infinity
    if (text === '' || !INTERVAL_TEXT.test(text)) throw new UnreadableError(OTHER_FORMAT)
    return pgParser(text)
  }
}

/** A point. pg binds it by its method, which an object from parsed JSON cannot have. */
class Point {
  constructor(
    readonly x: number,
    readonly y: number,
  ) {}

  toPostgres(): string {
    return `(${this.x},${this.y})`
  }
}

class Circle {
  constructor(
    readonly x: number,
    readonly y: number,
    readonly radius: number,
  ) {}

  toPostgres(): string {
    return `<(${this.x},${this.y}),${this.radius}>`
  }
}

function readPoint(text: string): Point {
  const [x = NaN, y = NaN] = numbersIn(text)
  return new Point(x, y)
}

function readCircle(text: string): Circle {
  const [x = NaN, y = NaN, radius = NaN] = numbersIn(text)
  return new Circle(x, y, radius)
}

function numbersIn(text: string): readonly number[] {
  return text
    .replaceAll(/[<>()]/g, '')
    .split(',')
    .map(Number)
}

const NAMES = new Map<number, string>([
  [POINT, 'point'],
  ...Object.entries(pg.types.builtins).map(([name, oid]) => [oid, name.toLowerCase()] as const),
])

/** Returns the name of a type for error messages. */
export function typeName(oid: number): string {
  const element = ELEMENT_TYPES[oid]
  return element === undefined ? (NAMES.get(oid) ?? `number ${oid} in pg_type`) : `${typeName(element)}[]`
}

/** Returns whether it is a built-in type that is not an array. */
export function isBuiltInScalar(oid: number): boolean {
  return NAMES.has(oid)
}

/**
 * Reads PostgreSQL's text of an array: https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO
 * Returns its elements, and arrays of arrays for several dimensions. Calls `read` for the text of each element
 * that is not NULL.
 *
 * @throws Error when `text` is not the text of an array
 */
export function readArray(text: string, delimiter: string, read: (text: string) => unknown): unknown[] {
  // An array whose lower bound is not 1 has its bounds in front: `[0:1]={…}`.
  const reader = new ArrayReader(text, text.indexOf('{'), delimiter, read)
  const elements = reader.list()
  if (reader.at !== text.length) throw new Error('It is not the text of an array')
  return elements
}

class ArrayReader {
  at: number
  readonly #text: string
  readonly #delimiter: string
  readonly #read: (text: string) => unknown

  constructor(text: string, at: number, delimiter: string, read: (text: string) => unknown) {
    this.#text = text
    this.at = at
    this.#delimiter = delimiter
    this.#read = read
  }

  list(): unknown[] {
    const elements: unknown[] = []
    while (this.at < this.#text.length) {
      // Skips the opening brace, or the delimiter.
      this.at += 1
      const first = this.#text[this.at]
      if (first === '{') elements.push(this.list())
      else if (first === '"') elements.push(this.#read(this.#quoted()))
      else if (first !== '}') elements.push(this.#plain())
      if (this.#text[this.at] !== this.#delimiter) break
    }
    this.at += 1
    return elements
  }

  #quoted(): string {
    let value = ''
    let start = this.at + 1
    let end = start
    for (; end < this.#text.length && this.#text[end] !== '"'; end += 1) {
      if (this.#text[end] !== '\\') continue
      value += this.#text.slice(start, end)
      end += 1
      start = end
    }
    this.at = end + 1
    return value + this.#text.slice(start, end)
  }

  #plain(): unknown {
    const start = this.at
    while (this.at < this.#text.length && !this.#isEnd(this.#text[this.at])) this.at += 1
    const value = this.#text.slice(start, this.at)
    return value === 'NULL' ? null : this.#read(value)
  }

  #isEnd(character: string | undefined): boolean {
    return character === this.#delimiter || character === '}'
  }
}
