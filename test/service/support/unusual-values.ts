/** Unusual values, as JSON text and as bytes. */

/** Numbers at and beyond every limit, and texts that look like numbers. */
const NUMBERS = [
  '0',
  '-0',
  '-1',
  '0.5',
  '1e0',
  '1.0',
  '1e2',
  '1e-400',
  '1e999',
  '-1e999',
  '2147483647',
  '2147483648',
  '9007199254740991',
  '9007199254740993',
  '-9007199254740993',
  '9223372036854775807',
  '9223372036854775808',
  '18446744073709551616',
  '1'.repeat(400),
  '01',
  '+1',
  '.5',
  '1.',
  '0x10',
  '1_000',
  'NaN',
  'Infinity',
  '-',
  '--1',
]

const STRINGS = [
  '',
  ' ',
  '\t\n',
  '1',
  'null',
  '\u0000',
  'a\u0000b',
  '\uFEFFada',
  '\u202Eada\u202C',
  '\u200Fעברית\u200E',
  'e\u0301\u0302\u0303'.repeat(40),
  '👩‍👩‍👧‍👦',
  '\u{10FFFF}',
  'ﷺ'.repeat(70),
  '\u2028\u2029',
  '\u007F\u0085',
  'İıſß',
  '%00%0a',
  '../../../etc/passwd',
  '<script>alert(1)</script>',
  '{{7*7}}${7*7}',
  'x'.repeat(65),
  'x'.repeat(60_000),
].map((text) => JSON.stringify(text))

/** Escaped as in JSON, the only way to send half of a surrogate pair. */
const BROKEN_STRINGS = [
  String.raw`"\ud800"`,
  String.raw`"\udc00\ud800"`,
  String.raw`"a\udfffb"`,
  String.raw`"\u"`,
  String.raw`"\x41"`,
  String.raw`"\u00zz"`,
  '"\u0001"',
  '"line\nbreak"',
  '"open',
  "'single'",
]

const OTHERS = [
  'null',
  'true',
  'false',
  'undefined',
  '[]',
  '{}',
  '[null]',
  '[1]',
  '["ada"]',
  '{"$gt":""}',
  '{"toString":null}',
  '{"length":1e9}',
  '{"__proto__":{"isAdmin":true}}',
  '{"constructor":{"prototype":{"isAdmin":true}}}',
  '{"type":"Buffer","data":[0,255]}',
  '{"toJSON":"x","then":1}',
  nested('[', ']', 40),
  nested('[', ']', 20_000),
  nested('{"a":', '}', 10_000, '1'),
  '[' + '1,'.repeat(20_000) + '1]',
  '['.repeat(50_000),
]

/** Values of fields, as JSON text; some are not valid JSON. */
export const ODD_JSON: readonly string[] = [...NUMBERS, ...STRINGS, ...BROKEN_STRINGS, ...OTHERS]

/** Names of fields: properties of Object.prototype, and invalid ones. */
export const ODD_NAMES: readonly string[] = [
  '__proto__',
  'constructor',
  'prototype',
  'toString',
  'hasOwnProperty',
  '__defineGetter__',
  'id',
  'length',
  '',
  ' ',
  '\u0000',
  '\u202E',
  'x'.repeat(5_000),
  'a.b',
  'a[b]',
  '$where',
]

/** Bytes that are not valid UTF-8, or unusual in it. */
export const ODD_BYTES: readonly Buffer[] = [
  // overlong '/' and NUL
  [0xc0, 0xaf],
  [0xe0, 0x80, 0xaf],
  [0xc0, 0x80],
  [0xf0, 0x80, 0x80, 0x80],
  // half of a surrogate pair, and beyond the last character
  [0xed, 0xa0, 0x80],
  [0xf4, 0x90, 0x80, 0x80],
  // never in UTF-8, alone, cut off
  [0xff, 0xfe],
  [0x80],
  [0xe2, 0x82],
  // a byte order mark, and NUL
  [0xef, 0xbb, 0xbf],
  [0x00],
].map((bytes) => Buffer.from(bytes))

function nested(open: string, close: string, depth: number, inside = ''): string {
  return open.repeat(depth) + inside + close.repeat(depth)
}
