/** Ways to damage the head of a request, and how it is sent. */
import { setHeader } from './draft'
import { ODD_BYTES, ODD_JSON, ODD_NAMES } from './unusual-values'
import { fieldsOf, one, type Spoiler } from './spoil-body'

const METHODS = [
  'get',
  'Post',
  'PUT',
  'HEAD',
  'OPTIONS',
  'TRACE',
  'CONNECT',
  'PROPFIND',
  'M-SEARCH',
  'PURGE',
  'SEARCH',
  'QUERY',
  'FOO',
  'G\0ET',
  'GET GET',
  '',
  'X'.repeat(10_000),
  'constructor',
]

const PATHS = [
  '//users',
  '/users//1',
  '/users/1/',
  '/users/1//',
  '/USERS',
  '/users/%00',
  '/users/%0d%0aX-Evil:%201',
  '/users/%2e%2e/users',
  '/users/../accounts',
  '/users/..%2f..%2fetc%2fpasswd',
  '/../../../../etc/passwd',
  '/docs/../package.json',
  '/docs/%2e%2e/%2e%2e/package.json',
  '/docs/..%5c..%5cpackage.json',
  '/docs/swagger-ui.css%00.png',
  '/docs//etc/passwd',
  '/docs/package.json',
  '/openapi.json/',
  '/openapi.json/x',
  '/users/1;admin=true',
  '/users/%',
  '/users/%zz',
  '/users/%ff',
  '/users/%c0%af',
  '/users/%ed%a0%80',
  '/users/%u0031',
  '/users/１',
  '/users/1e0',
  '/users/0x1',
  '/users/01',
  '/users/-0',
  '/users/+1',
  '/users/1.0',
  '/users/NaN',
  '/users/null',
  '/users/2147483648',
  '/users/9007199254740993',
  `/users/${'9'.repeat(1_000)}`,
  `/users/${'a'.repeat(8_000)}`,
  `/${'a/'.repeat(4_000)}`,
  '/users/__proto__',
  '/users/constructor/posts',
  '/__proto__',
  '/constructor',
  '/.env',
  '/.git/config',
  '/server-status',
  'users',
  '*',
  '',
  '?',
  '/?',
  '/#users',
  '\\users',
  '/users\\1',
  'http://elsewhere.test/users',
  'http://',
  'https://[::1/users',
  '//elsewhere.test/%2f..',
  'millpond.test:443',
  '/users/\xff',
  '/users/\x01',
  '/users/1 2',
]

const QUERY_NAMES = [
  'limit',
  'sort',
  'after',
  'username',
  'author_id',
  'min_price',
  'owner',
  'email',
  'limit[]',
]

const QUERIES = [
  '?',
  '?&&&&',
  '?=',
  '?%',
  '?%00=%00',
  '?a[b][c]=1',
  '?__proto__=1',
  '?__proto__[limit]=1',
  '?constructor[prototype][limit]=1',
  '?limit=1&limit=2',
  '?limit=1;sort=id',
  '?limit=',
  '?limit',
  '?limit=1e2',
  '?limit=%31',
  '?sort=id&sort=-id',
  '?sort=__proto__',
  '?sort=constructor',
  '?sort=-',
  '?sort=--id',
  '?after=-1',
  '?after=1.5',
  '?after=%ff%fe',
  `?${'a=1&'.repeat(1_500)}`,
  `?${'x'.repeat(9_000)}`,
  '?username=%ED%A0%80',
  '?username=%00',
  '?username=%F0%9F%98%80',
  '?x=1?y=2#z',
]

/** Headers that Node, Express or the service reads. */
const HEADERS = [
  'Accept',
  'Accept-Charset',
  'Accept-Encoding',
  'Authorization',
  'Connection',
  'Cookie',
  'Expect',
  'Host',
  'Idempotency-Key',
  'If-Modified-Since',
  'If-None-Match',
  'Keep-Alive',
  'Origin',
  'Range',
  'Te',
  'Traceparent',
  'Upgrade',
  'X-Forwarded-For',
  'X-Forwarded-Host',
  'X-Http-Method-Override',
  'X-Request-Id',
]

const HEADER_VALUES = [
  '',
  ' ',
  ',,,,',
  ';q=',
  '*/*;q=1e999',
  '*;q=-1, a/b;q=x',
  'application/json;q=0',
  '"',
  '"\\"',
  'W/"',
  '*',
  '00-00000000000000000000000000000000-0000000000000000-00',
  `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01-more`,
  `ff-${'a'.repeat(32)}-${'b'.repeat(16)}-01`,
  `00-${'A'.repeat(32)}-${'b'.repeat(16)}-01`,
  'bytes=0-18446744073709551615',
  'bytes=-1,-1,-1',
  '100-continue',
  'websocket',
  'close, keep-alive, upgrade',
  '__proto__',
  'a=b; __proto__=c; a',
  'Thu, 99 Foo 9999 99:99:99 GMT',
  'DELETE',
  'ü\xff\x80',
  'a\tb',
  'x'.repeat(7_000),
  ','.repeat(7_000),
  'a,'.repeat(3_500),
]

export const HEAD_SPOILERS: Readonly<Record<string, Spoiler>> = {
  'another method': (draft, random) => {
    draft.method = one(METHODS, random)
    draft.mayStayUnanswered = draft.method === 'CONNECT'
  },
  'an odd path': (draft, random) => void (draft.target = latin(one(PATHS, random))),
  'an odd id': (draft, random) => {
    draft.target = draft.target.replace(
      /\d+/,
      encodeURIComponent(textOf(one(ODD_JSON, random)).slice(0, 2_000)),
    )
  },
  'an odd query': (draft, random) => void (draft.target += one(QUERIES, random)),
  'an odd value in the query': (draft, random) => {
    const value = encodeURIComponent(textOf(one(ODD_JSON, random)).slice(0, 2_000))
    draft.target += `?${one(QUERY_NAMES, random)}=${value}`
  },
  'odd bytes in the query': (draft, random) => {
    const bytes = [...one(ODD_BYTES, random)].map((byte) => `%${byte.toString(16).padStart(2, '0')}`)
    draft.target += `?${one(QUERY_NAMES, random)}=${bytes.join('')}`
  },
  'an odd name in the query': (draft, random) => {
    draft.target += `?${encodeURIComponent(one(ODD_NAMES, random))}=1`
  },
  'a cursor of our kind': (draft, random) => {
    const sort = one(['username', '-username', 'title', 'price', '-price', 'owner', 'name'], random)
    const [by, order] = sort.startsWith('-') ? [sort.slice(1), 'desc'] : [sort, 'asc']
    const table = by === 'title' ? 'posts.' : ''
    const name = `${table}${by} ${order}, ${table}id ${order}`
    // As PostgreSQL's cursors have it, and with the letter of SQLite's for a text.
    const text = JSON.stringify(one(['', 't'], random) + textOf(one(ODD_JSON, random)))
    const odd = one([text, one(ODD_JSON, random)], random)
    const place = one([`["${name}",${odd},"1"]`, `["${name}","ta",${odd}]`, odd], random).slice(0, 2_000)
    draft.target += `?sort=${sort}&after=${Buffer.from(place).toString('base64url')}`
  },
  'its body in the query': (draft) => {
    if (draft.method !== 'POST') return
    const [names, texts] = fieldsOf(draft)
    const fields = names.map((name, index): [string, string] => [
      name,
      textOf(texts[index] ?? '').slice(0, 2_000),
    ])
    draft.target += `?${new URLSearchParams([...fields, ['x', '1']]).toString()}`
    draft.body = Buffer.alloc(0)
    draft.framing = 'none'
    // No body follows, so that no header may announce chunks, for which the server would wait.
    draft.headers = draft.headers.filter(([name]) => !['Transfer-Encoding', 'Trailer'].includes(name))
  },
  'another version': (draft, random) => {
    draft.version = one(
      ['HTTP/1.0', 'HTTP/0.9', 'HTTP/2.0', 'HTTP/9.9', 'HTTP/1.', 'http/1.1', '', 'X'],
      random,
    )
    draft.mayStayUnanswered = true
  },
  'an odd header': (draft, random) => {
    setHeader(draft, one(HEADERS, random), latin(one(HEADER_VALUES, random)))
  },
  'five odd headers': (draft, random) => {
    for (let count = 0; count < 5; count += 1)
      setHeader(draft, one(HEADERS, random), latin(one(HEADER_VALUES.slice(0, -3), random)))
  },
  'a header twice': (draft, random) => {
    const name = one(HEADERS, random)
    draft.headers.push([name, latin(one(HEADER_VALUES, random))], [name, latin(one(HEADER_VALUES, random))])
  },
  'no host': (draft) => {
    draft.headers = draft.headers.filter(([name]) => name !== 'Host')
  },
  'headers of great size': (draft) => void draft.headers.push(['X-Large', 'x'.repeat(20_000)]),
  'many headers': (draft, random) => {
    const count = one([200, 1_200], random)
    for (let index = 0; index < count; index += 1) draft.headers.push([`X-${index}`, '1'])
  },
  'a header that is none': (draft, random) => {
    const [name, value] = one(
      [
        ['No Name', 'x'],
        ['', 'x'],
        ['X\0Y', 'x'],
        ['X-Nul', 'a\0b'],
        ['X-Fold', 'a\r\n b'],
        ['X-Split', 'a\nContent-Length: 0'],
        ['X-Return', 'a\rb'],
        ['__proto__', 'x'],
        ['constructor', 'x'],
        ['Content-Length ', '0'],
        ['\xff', 'x'],
      ] as const,
      random,
    )
    draft.headers.unshift([name, value])
    draft.mayStayUnanswered = true
  },
}

/** These come last, because they work on the bytes. */
export const SENDING_SPOILERS: Readonly<Record<string, Spoiler>> = {
  'half of it sent': (draft, random) => {
    draft.mayStayUnanswered = true
    draft.spoil = (bytes) => bytes.subarray(0, random(bytes.length))
  },
  'some of its bytes changed': (draft, random) => {
    draft.mayStayUnanswered = true
    draft.spoil = (bytes) => {
      const changed = Buffer.from(bytes)
      for (let count = 0; count < 3; count += 1) changed[random(changed.length)] = random(256)
      return changed
    }
  },
  'noise before it': (draft, random) => {
    draft.mayStayUnanswered = true
    draft.spoil = (bytes) =>
      Buffer.concat([Buffer.from(Array.from({ length: 20 }, () => random(256))), bytes])
  },
  'the greeting of another protocol': (draft, random) => {
    draft.mayStayUnanswered = true
    const greetings = [
      'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
      '\x16\x03\x01\x02\x00\x01',
      'SSH-2.0-x\r\n',
      '\0\0\0\x08\x04\xd2\x16\x2f',
    ]
    draft.spoil = () => Buffer.from(one(greetings, random), 'latin1')
  },
  'several at once': (draft, random) => {
    // They share one connection, so that a request without a response must not come first.
    if (draft.method === 'GET' && !draft.mayStayUnanswered) draft.times = 2 + random(8)
  },
}

/** As bytes of UTF-8, one character each, which is how a head is written. */
function latin(text: string): string {
  return /[\u0100-\uffff]/.test(text) ? Buffer.from(text).toString('latin1') : text
}

/** The text that JSON means, or its own. */
function textOf(json: string): string {
  try {
    const value: unknown = JSON.parse(json)
    return typeof value === 'string' ? value.replace(/\p{Cs}/gu, '?') : json
  } catch {
    return json
  }
}
