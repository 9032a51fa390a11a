/** A draft of a request: valid by the OpenAPI document, then changed, and written to bytes at the end. */
import type { Document } from './openapi'

export interface Draft {
  method: string
  target: string
  version: string
  /** In order, some more than once; latin1. */
  headers: [name: string, value: string][]
  body: Buffer
  /** How the length of the body is sent: `none` leaves that to the headers. */
  framing: 'length' | 'chunked' | 'none'
  /** Whether the server may wait for the rest, or not answer. */
  mayStayUnanswered: boolean
  /** How often it is sent at once, on one connection. */
  times: number
  /** The bytes in place of all that, from the request as it would have been. */
  spoil: (bytes: Buffer) => Buffer
}

export interface Parameter {
  readonly name: string
  readonly in: 'path' | 'query' | 'header'
  readonly schema: { readonly type?: string; readonly enum?: readonly string[] }
}

/** An operation of the document, with everything that a client can set. */
export interface Target {
  /** `GET /users/{id}`. */
  readonly name: string
  readonly method: string
  readonly path: string
  readonly parameters: readonly Parameter[]
  /** The example of its body, or null where it has none. */
  readonly example: Readonly<Record<string, unknown>> | null
  readonly statuses: readonly string[]
}

interface OperationInDocument {
  readonly parameters?: readonly Parameter[]
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly example: unknown }>> }
  readonly responses: object
}

export function targetsOf(document: Document): Target[] {
  const paths = document.paths as unknown as Record<string, Record<string, OperationInDocument>>
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { parameters = [], requestBody, responses }]): Target => ({
      name: `${method.toUpperCase()} ${path}`,
      method: method.toUpperCase(),
      path,
      parameters,
      example: (requestBody?.content['application/json']?.example ?? null) as Target['example'],
      statuses: Object.keys(responses),
    })),
  )
}

/** A valid request: with an id for the path, and values for some of the fields of its body. */
export function draftOf(
  { method, path, example }: Target,
  id: number,
  values: Readonly<Record<string, unknown>>,
): Draft {
  const hasBody = example !== null
  const body = Object.entries(example ?? {}).map(([name, value]) => [name, values[name] ?? value])
  return {
    method,
    target: path.replace('{id}', String(id)),
    version: 'HTTP/1.1',
    headers: [
      ['Host', 'millpond.test'],
      ...(hasBody ? [['Content-Type', 'application/json'] as [string, string]] : []),
    ],
    body: Buffer.from(hasBody ? JSON.stringify(Object.fromEntries(body)) : ''),
    framing: hasBody ? 'length' : 'none',
    mayStayUnanswered: false,
    times: 1,
    spoil: (bytes) => bytes,
  }
}

export function bytesOf(draft: Draft): Buffer {
  const { method, target, version, headers, body, framing, times, spoil } = draft
  const framed: [string, string][] =
    framing === 'length'
      ? [['Content-Length', String(body.length)]]
      : framing === 'chunked'
        ? [['Transfer-Encoding', 'chunked']]
        : []
  const lines = [...headers, ...framed].map(([name, value]) => `${name}: ${value}\r\n`)
  const head = Buffer.from(`${method} ${target} ${version}\r\n${lines.join('')}\r\n`, 'latin1')
  const payload = framing === 'chunked' ? Buffer.concat([chunkOf(body), Buffer.from('0\r\n\r\n')]) : body
  return spoil(Buffer.concat(Array.from({ length: times }, () => Buffer.concat([head, payload]))))
}

/** Replaces a header of the draft, or adds it. */
export function setHeader(draft: Draft, name: string, value: string): void {
  draft.headers = draft.headers.filter(([other]) => other.toLowerCase() !== name.toLowerCase())
  draft.headers.push([name, value])
}

/** Bytes as one chunk. No bytes are no chunk, since an empty chunk is the last. */
export function chunkOf(bytes: Buffer): Buffer {
  if (bytes.length === 0) return bytes
  return Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')])
}
