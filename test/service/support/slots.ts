/** Every place of an operation where a client can put a text. */
import { bytesOf, type Draft, draftOf, setHeader, type Target } from './draft'

export interface Slot {
  /** `body username of POST /users`. */
  readonly name: string
  readonly target: Target
  /** Of the field or parameter. */
  readonly field: string
  readonly place: 'path' | 'query' | 'body' | 'header' | 'other headers'
  /** Whether it takes texts; the others refuse all that are not numbers, or not in a list. */
  readonly takesText: boolean
  /** How many texts one request takes. */
  readonly width: number
}

export interface Surroundings {
  /** For the path. */
  readonly id: number
  /** For the body. */
  readonly values: Readonly<Record<string, unknown>>
}

/** Headers of no operation, which something between may read or store. */
const OTHER_HEADERS = [
  'Accept-Language',
  'Authorization',
  'Cookie',
  'Forwarded',
  'If-None-Match',
  'Origin',
  'Referer',
  'Traceparent',
  'User-Agent',
  'X-Forwarded-For',
  'X-Request-Id',
]

export function slotsOf(target: Target): Slot[] {
  const slot = (place: Slot['place'], field: string, takesText: boolean): Slot => ({
    name: `${place} ${field} of ${target.name}`,
    target,
    field,
    place,
    takesText,
    width: place === 'other headers' ? OTHER_HEADERS.length : 1,
  })
  return [
    ...Object.entries(target.example ?? {}).map(([field, value]) =>
      slot('body', field, typeof value === 'string'),
    ),
    ...target.parameters.map(({ in: place, name, schema }) =>
      slot(place, name, schema.type === 'string' && schema.enum === undefined),
    ),
    slot('other headers', '', true),
  ]
}

/** A request that is valid except for the texts in the slot. */
export function requestWith(
  texts: readonly string[],
  { target, place, field }: Slot,
  { id, values }: Surroundings,
): Buffer {
  const [text = ''] = texts
  const draft = draftOf(target, id, place === 'body' ? { ...values, [field]: text } : values)
  const put: Record<Slot['place'], (draft: Draft) => void> = {
    path: () => (draft.target = target.path.replace(`{${field}}`, encodeURIComponent(text))),
    query: () => (draft.target += `?${field}=${encodeURIComponent(text)}`),
    body: () => undefined,
    header: () => setHeader(draft, field, asHeader(text)),
    'other headers': () => {
      for (const [index, other] of texts.entries())
        setHeader(draft, OTHER_HEADERS[index] ?? '', asHeader(other))
      if (target.parameters.some(({ name }) => name === 'limit')) draft.target += '?limit=1'
    },
  }
  put[place](draft)
  return bytesOf(draft)
}

/** A head has no line breaks and no NUL; its bytes are UTF-8 here. */
function asHeader(text: string): string {
  return Buffer.from(text.replace(/[\0\r\n]/g, ' ')).toString('latin1')
}
