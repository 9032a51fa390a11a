/** What PostgreSQL's texts become: what pg makes of them, but where that loses something, or cannot be bound again. */
import pg from 'pg'
import { readArray } from './array-text'

export type Parser = (text: string) => unknown

/** Where the parser of a type is found. */
export interface Types {
  getTypeParser(oid: number, format: 'text'): Parser
}

/** What pg has for types whose text is the value. No type has that number, so that nobody has set another parser for it. */
export const AS_IT_IS = pg.types.getTypeParser(0 as never, 'text') as Parser

const { DATE, TIMESTAMP, TIMESTAMPTZ, INTERVAL, NUMERIC, CIRCLE } = pg.types.builtins
const POINT = 600

/** A value that a parser cannot read. The message completes the sentence "… a value that cannot be read: ". */
export class UnreadableError extends Error {}

/** A type that is read otherwise than by pg. */
interface Own {
  /** What pg's own parser makes of a text: any other parser is the program's own, and stays. */
  readonly sample: readonly [text: string, value: unknown]
  /** The parser, which may ask pg's own. */
  read(this: void, pgs: Parser): Parser
}

const SCALARS: Readonly<Record<number, Own>> = {
  // pg makes midnight of it, in the local time zone: another day elsewhere.
  [DATE]: { sample: ['0044-03-15 BC', new Date(-43, 2, 15)], read: () => readDate },
  // pg gives null for what it cannot read.
  [TIMESTAMP]: { sample: ['0044-03-15 01:02:03 BC', new Date(-43, 2, 15, 1, 2, 3)], read: momentBy },
  [TIMESTAMPTZ]: {
    sample: ['0044-03-15 01:02:03+00 BC', new Date(Date.UTC(-43, 2, 15, 1, 2, 3))],
    read: momentBy,
  },
  // pg gives an empty one for what it cannot read.
  [INTERVAL]: { sample: ['-1 days', { days: -1 }], read: intervalBy },
  // pg's cannot be bound.
  [POINT]: { sample: ['(1,2)', { x: 1, y: 2 }], read: () => readPoint },
  [CIRCLE]: { sample: ['<(1,2),3>', { x: 1, y: 2, radius: 3 }], read: () => readCircle },
}

/** Arrays that pg reads, by the type of their elements: those above, and numeric, of which pg makes numbers that lose digits. */
const ARRAYS: Readonly<Record<number, number>> = {
  1115: TIMESTAMP,
  1182: DATE,
  1185: TIMESTAMPTZ,
  1187: INTERVAL,
  1017: POINT,
  1231: NUMERIC,
}

const OWN: Readonly<Record<number, Own>> = {
  ...SCALARS,
  ...Object.fromEntries(Object.entries(ARRAYS).map(([oid, element]) => [oid, arrayOf(element)])),
}

/** Parsers as pg asks for them. */
export const TYPES = {
  getTypeParser(oid: number, format: 'text' | 'binary' = 'text'): Parser {
    const theirs = pg.types.getTypeParser(oid, format) as Parser
    const own = OWN[oid]
    return own !== undefined && format === 'text' && isPgs(theirs, own) ? own.read(theirs) : theirs
  },
}

const judged = new WeakMap<Own, { readonly parser: Parser; readonly isPgs: boolean }>()

/** Whether a parser is pg's own, which can only be told by what it does: it may have been replaced before this is loaded. */
function isPgs(parser: Parser, own: Own): boolean {
  let last = judged.get(own)
  if (last?.parser !== parser) {
    const [text, value] = own.sample
    last = { parser, isPgs: JSON.stringify(attempt(parser, text)) === JSON.stringify(value) }
    judged.set(own, last)
  }
  return last.isPgs
}

function attempt(parser: Parser, text: string): unknown {
  try {
    return parser(text)
  } catch {
    return undefined
  }
}

function arrayOf(element: number): Own {
  const [text, value] = SCALARS[element]?.sample ?? ['1.50', 1.5]
  return {
    sample: [`{"${text}"}`, [value]],
    read: () => (texts) => readArray(texts, ',', TYPES.getTypeParser(element)),
  }
}

const OTHER_FORMAT = 'the session has another DateStyle or IntervalStyle'

function readDate(text: string): string {
  // As nearly all are, and faster to find out than by the pattern.
  if (text.length === 10 && text.charCodeAt(4) === HYPHEN && text.charCodeAt(7) === HYPHEN) return text
  if (!/^(?:\d{4,}-\d\d-\d\d(?: BC)?|-?infinity)$/.test(text)) throw new UnreadableError(OTHER_FORMAT)
  return text
}

const HYPHEN = 45

function momentBy(pgs: Parser): Parser {
  return (text) => {
    const moment = pgs(text)
    if (moment === null) throw new UnreadableError(OTHER_FORMAT)
    if (moment instanceof Date && Number.isNaN(moment.getTime()))
      throw new UnreadableError('it is beyond what a Date can hold')
    return moment
  }
}

const INTERVAL_TEXT =
  /^(?:[+-]?\d+ years?(?: |$))?(?:[+-]?\d+ mons?(?: |$))?(?:[+-]?\d+ days?(?: |$))?(?:[+-]?\d+:\d\d:\d\d(?:\.\d+)?)?$/

function intervalBy(pgs: Parser): Parser {
  return (text) => {
    if (/^-?infinity$/.test(text)) return text.startsWith('-') ? -Infinity : Infinity
    if (text === '' || !INTERVAL_TEXT.test(text)) throw new UnreadableError(OTHER_FORMAT)
    return pgs(text)
  }
}

/** Its method, by which pg binds it, tells it from an object that came out of a request. */
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

/** The name of a type, for people. */
export function typeName(oid: number): string {
  const element = ARRAYS[oid]
  return element === undefined ? (NAMES.get(oid) ?? `number ${oid} in pg_type`) : `${typeName(element)}[]`
}

/** Types of PostgreSQL's own that are no arrays. */
export function isPlain(oid: number): boolean {
  return NAMES.has(oid)
}
