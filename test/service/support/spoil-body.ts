/** Ways to damage the body of a request, or the headers about it. */
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib'
import { chunkOf, type Draft, setHeader } from './draft'
import { ODD_BYTES, ODD_JSON, ODD_NAMES } from './unusual-values'

export type Random = (below: number) => number

export type Spoiler = (draft: Draft, random: Random) => void

/** Compresses well, and is twenty times what a body may be. */
const BOMB = Buffer.alloc(2_000_000, ' ')

const TYPES = [
  '',
  'application/JSON',
  'application/json; charset=utf-16',
  'application/json; charset=latin1',
  'application/json; charset="',
  'application/json; charset=utf-8; charset=utf-7',
  'application/json;;;',
  'application/problem+json',
  'application/x-www-form-urlencoded',
  'multipart/form-data',
  'text/plain',
  'text/html; charset=utf-8',
  'application/octet-stream',
  'application/json, text/plain',
  '*/*',
  '/',
  'json',
  'x'.repeat(2_000),
  'application/json; boundary=\u00ff',
]

const ENCODINGS = [
  'gzip',
  'deflate',
  'br',
  'zstd',
  'compress',
  'identity',
  'gzip, gzip',
  'x-gzip',
  '',
  'constructor',
  '__proto__',
]

const LENGTHS = ['-1', '+5', '0x10', '1e3', ' ', '', '5, 5', 'NaN', '99999999999999999999', '0', '3.0']

const NOT_JSON = [
  '',
  ' ',
  '{',
  '}',
  '{"a":1,}',
  '{a:1}',
  "{'a':1}",
  '{"a":1}{"a":1}',
  '{"a":1} x',
  '/**/{}',
  '// {}',
  '{"a"}',
  '{"a":}',
  '{:1}',
  '[',
  '"text"',
  '1',
  'null',
  'true',
  '\u2028{}',
  'a=1&b=2',
  '<user/>',
  '--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--x--',
]

export const BODY_SPOILERS: Readonly<Record<string, Spoiler>> = {
  'a field with an odd value': (draft, random) => {
    const [names, texts] = fieldsOf(draft)
    const at = random(names.length || 1)
    texts[at] = one(ODD_JSON, random)
    setBody(draft, objectOf(names, texts))
  },
  'every field with an odd value': (draft, random) => {
    const [names] = fieldsOf(draft)
    const texts = names.map(() => one(ODD_JSON, random))
    setBody(draft, objectOf(names, texts))
  },
  'a field twice': (draft, random) => {
    const [names, texts] = fieldsOf(draft)
    const at = random(names.length || 1)
    setBody(draft, objectOf([...names, names[at] ?? 'a'], [...texts, one(ODD_JSON, random)]))
  },
  'a field too many': (draft, random) => {
    const [names, texts] = fieldsOf(draft)
    setBody(draft, objectOf([...names, one(ODD_NAMES, random)], [...texts, one(ODD_JSON, random)]))
  },
  'a thousand fields too many': (draft) => {
    const names = Array.from({ length: 1_000 }, (_, index) => `field${index}`)
    setBody(
      draft,
      objectOf(
        names,
        names.map(() => '1'),
      ),
    )
  },
  'a field too few': (draft, random) => {
    const [names, texts] = fieldsOf(draft)
    const gone = random(names.length || 1)
    const rest = <T>(all: T[]): T[] => all.filter((_, index) => index !== gone)
    setBody(draft, objectOf(rest(names), rest(texts)))
  },
  'an array around it': (draft) => setBody(draft, `[${draft.body.toString()}]`),
  'something else as a whole': (draft, random) => setBody(draft, one(ODD_JSON, random)),
  'no JSON': (draft, random) => setBody(draft, one(NOT_JSON, random)),
  'JSON cut off': (draft, random) => {
    setBody(draft, draft.body.subarray(0, random(draft.body.length || 1)))
  },
  'bytes that are no UTF-8': (draft, random) => {
    const text = draft.body.toString('latin1')
    const quote = text.indexOf('":"')
    const at = quote < 0 ? random(text.length || 1) : quote + 3
    setBody(
      draft,
      Buffer.concat([draft.body.subarray(0, at), one(ODD_BYTES, random), draft.body.subarray(at)]),
    )
  },
  'other bytes before it': (draft, random) => {
    setBody(draft, Buffer.concat([one(ODD_BYTES, random), draft.body]))
  },
  'UTF-16': (draft, random) => {
    setBody(draft, Buffer.from(draft.body.toString(), 'utf16le'))
    if (random(2) > 0) setHeader(draft, 'Content-Type', 'application/json; charset=utf-16le')
  },
  'another type': (draft, random) => setHeader(draft, 'Content-Type', one(TYPES, random)),
  'two types': (draft, random) => void draft.headers.push(['Content-Type', one(TYPES, random)]),
  'an encoding that it has not': (draft, random) => {
    setHeader(draft, 'Content-Encoding', one(ENCODINGS, random))
  },
  'a compressed body that is cut off': (draft) => {
    const whole = gzipSync(draft.body)
    setBody(draft, whole.subarray(0, whole.length - 5))
    setHeader(draft, 'Content-Encoding', 'gzip')
  },
  'a compressed body of great size': (draft, random) => {
    const [encoding, compress] = one(
      [
        ['gzip', gzipSync],
        ['deflate', deflateSync],
        ['br', brotliCompressSync],
      ] as const,
      random,
    )
    setBody(draft, compressedBomb(encoding, compress))
    setHeader(draft, 'Content-Encoding', encoding)
  },
  'a body of great size': (draft) => setBody(draft, Buffer.alloc(300_000, '"')),
  'no length': (draft) => {
    draft.framing = 'none'
    // Without a length, the rest of the body would be another request.
    draft.mayStayUnanswered = true
  },
  'an odd length': (draft, random) => {
    draft.framing = 'none'
    draft.headers.push(['Content-Length', one(LENGTHS, random)])
    draft.mayStayUnanswered = true
  },
  'two lengths': (draft, random) => {
    draft.headers.push(['Content-Length', String(random(1_000))])
    draft.mayStayUnanswered = true
  },
  'a length and chunks': (draft) => {
    draft.headers.push(['Transfer-Encoding', 'chunked'])
    draft.mayStayUnanswered = true
  },
  chunks: (draft) => {
    draft.framing = 'chunked'
  },
  'chunks of an odd size': (draft, random) => {
    const size = one(['-1', 'zz', 'ffffffffffffffffff', '1;x=y', `1;${'x'.repeat(20_000)}`, ' 5', ''], random)
    draft.framing = 'none'
    draft.headers.push(['Transfer-Encoding', 'chunked'])
    draft.body = Buffer.from(`${size}\r\n{}\r\n0\r\n\r\n`)
    draft.mayStayUnanswered = true
  },
  'chunks with trailers': (draft) => {
    draft.framing = 'none'
    draft.headers.push(['Transfer-Encoding', 'chunked'], ['Trailer', 'Content-Type'])
    const trailers = 'Content-Type: text/html\r\n__proto__: x\r\n\r\n'
    draft.body = Buffer.concat([chunkOf(draft.body), Buffer.from(`0\r\n${trailers}`)])
  },
  'another transfer encoding': (draft, random) => {
    draft.framing = 'none'
    const encoding = one(['gzip', 'identity', 'chunked, chunked', 'gzip, chunked', 'xchunked', ''], random)
    draft.headers.push(['Transfer-Encoding', encoding])
    draft.mayStayUnanswered = true
  },
}

const bombs = new Map<string, Buffer>()

function compressedBomb(encoding: string, compress: (input: Buffer) => Buffer): Buffer {
  const bomb = bombs.get(encoding) ?? compress(BOMB)
  bombs.set(encoding, bomb)
  return bomb
}

export function one<T>(choices: readonly T[], random: Random): T {
  const chosen = choices[random(choices.length)]
  if (chosen === undefined) throw new Error('There is nothing to choose from.')
  return chosen
}

/** The fields of the body as it is, with the text of each value; of one that is no object, none. */
export function fieldsOf({ body }: Draft): [names: string[], texts: string[]] {
  try {
    const fields = Object.entries(JSON.parse(body.toString()) as object)
    return [fields.map(([name]) => name), fields.map(([, value]) => JSON.stringify(value))]
  } catch {
    return [[], []]
  }
}

function objectOf(names: readonly string[], texts: readonly string[]): string {
  return `{${names.map((name, index) => `${JSON.stringify(name)}:${texts[index]}`).join(',')}}`
}

function setBody(draft: Draft, body: string | Buffer): void {
  draft.body = Buffer.from(body as string)
  if (draft.framing === 'none') draft.framing = 'length'
}
