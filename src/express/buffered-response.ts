/** A buffered response: the handler's answer is kept in memory, and sent or discarded later. */
import { type OutgoingHttpHeaders, validateHeaderValue } from 'node:http'
import type { Response } from 'express'

/** The part of an answer before its body. */
interface Head {
  readonly statusCode: number
  readonly statusMessage: string
  readonly headers: OutgoingHttpHeaders
}

/** The property of a response that holds its BufferedResponse. */
const BUFFERED = Symbol('millpond.buffered')

const REPLACED_PROPERTIES = [
  'write',
  'end',
  'writeHead',
  'flushHeaders',
  'headersSent',
  'writableEnded',
  BUFFERED,
] as const

/** Discards an incomplete buffered answer, so that the answer for an error can take its place. */
export function discardPartialAnswer(response: Response): void {
  const buffered = (response as { readonly [BUFFERED]?: BufferedResponse })[BUFFERED]
  buffered?.discardPartial()
}

/**
 * Buffers everything that is written to a response from now on. To the handler it looks as if it were sent. The first
 * complete answer counts; later writes are ignored.
 */
export class BufferedResponse {
  /** Resolves to the status when the answer is complete, or to null if the client goes away before that. */
  readonly status: Promise<number | null>
  readonly #response: Response
  readonly #originalHead: Head
  readonly #replacedProperties: PropertyDescriptorMap
  #answer: Head | null = null
  #hasStarted = false
  #body: (() => void)[] = []

  constructor(response: Response) {
    this.#response = response
    this.#originalHead = headOf(response)
    // Other middleware, such as compression, may have replaced these methods: they are restored later.
    this.#replacedProperties = Object.fromEntries(
      REPLACED_PROPERTIES.map(
        (name) => [name, Object.getOwnPropertyDescriptor(response, name)] as const,
      ).filter(
        (entry): entry is [(typeof REPLACED_PROPERTIES)[number], PropertyDescriptor] =>
          entry[1] !== undefined,
      ),
    )
    this.status = new Promise((resolve) => {
      response.once('close', () => resolve(null))
      // Raised, so that present listeners do not count towards Node's warning when a stream adds its own.
      response.setMaxListeners(response.getMaxListeners() + response.listenerCount('close'))
      // `close` does not come again if the client has gone already.
      if (response.destroyed || response.req.socket.destroyed) resolve(null)
      this.#replace({
        write: (chunk: unknown, ...rest: unknown[]) => {
          requireChunk(chunk)
          const done = rest.find((one) => typeof one === 'function') as (() => void) | undefined
          // The caller may wait for this callback before it goes on, and may reuse its buffer after it: hence the copy.
          if (done !== undefined) process.nextTick(done)
          const kept = done !== undefined && typeof chunk !== 'string' ? Buffer.from(chunk) : chunk
          const encoding = rest.find((one) => typeof one === 'string') as BufferEncoding
          this.#hasStarted = true
          if (this.#answer === null) this.#body.push(() => response.write(kept, encoding))
          return true
        },
        end: (...args: Parameters<Response['end']>) => {
          if (this.#answer === null) {
            const [chunk] = args as readonly unknown[]
            if (chunk !== undefined && chunk !== null && typeof chunk !== 'function') requireChunk(chunk)
            requireStatus(response.statusCode, response.statusMessage)
            this.#answer = headOf(response)
            this.#body.push(() => response.end(...args))
            resolve(this.#answer.statusCode)
          }
          return response
        },
        writeHead: (statusCode: number, ...rest: unknown[]) => {
          this.#hasStarted = true
          if (this.#answer === null) writeHead(response, statusCode, rest)
          return response
        },
        flushHeaders: () => {
          this.#hasStarted = true
        },
      })
    })
  }

  /** Sends the buffered answer. */
  send(): void {
    this.#restoreProperties()
    if (this.#answer === null || this.#response.destroyed) return
    restore(this.#response, this.#answer)
    for (const write of this.#body) write()
  }

  /** Discards the answer and stops buffering, so that another answer can be sent. */
  discard(): void {
    this.#restoreProperties()
    this.#body = []
    restore(this.#response, this.#originalHead)
  }

  /** Discards an incomplete answer and goes on buffering. */
  discardPartial(): void {
    if (this.#answer !== null || !this.#hasStarted) return
    this.#hasStarted = false
    this.#body = []
    restore(this.#response, this.#originalHead)
  }

  #replace(methods: Record<'write' | 'end' | 'writeHead' | 'flushHeaders', unknown>): void {
    for (const [name, value] of Object.entries(methods)) {
      Object.defineProperty(this.#response, name, { value, configurable: true, writable: true })
    }
    const isEnded = (): boolean => this.#answer !== null
    const has = { configurable: true }
    Object.defineProperty(this.#response, 'headersSent', { get: () => this.#hasStarted || isEnded(), ...has })
    Object.defineProperty(this.#response, 'writableEnded', { get: isEnded, ...has })
    Object.defineProperty(this.#response, BUFFERED, { value: this, ...has })
  }

  #restoreProperties(): void {
    for (const name of REPLACED_PROPERTIES) Reflect.deleteProperty(this.#response, name)
    Object.defineProperties(this.#response, this.#replacedProperties)
  }
}

function headOf(response: Response): Head {
  const { statusCode, statusMessage } = response
  return { statusCode, statusMessage, headers: { ...response.getHeaders() } }
}

function restore(response: Response, { statusCode, statusMessage, headers }: Head): void {
  response.statusCode = statusCode
  response.statusMessage = statusMessage
  for (const name of response.getHeaderNames()) response.removeHeader(name)
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined) response.setHeader(name, value)
  }
}

/** Sets status and headers as writeHead does, without sending. node:http takes headers as an object, pairs, or a flat list. */
function writeHead(response: Response, statusCode: number, rest: readonly unknown[]): void {
  response.statusCode = statusCode
  if (typeof rest[0] === 'string') response.statusMessage = rest[0]
  requireStatus(statusCode, response.statusMessage)
  const headers = rest.find((value) => typeof value === 'object' && value !== null) ?? {}
  if (!Array.isArray(headers)) {
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value as string)
    return
  }
  // A list may name a header several times, such as Set-Cookie.
  const flat = headers.flat(1) as string[]
  const pairs = flat.flatMap((name, at) => (at % 2 === 0 ? [[name, flat[at + 1] ?? ''] as const] : []))
  for (const [name] of pairs) response.removeHeader(name)
  for (const [name, value] of pairs) response.appendHeader(name, value)
}

/** Refuses a body that node:http would refuse only when it is sent, after the commit. */
function requireChunk(chunk: unknown): asserts chunk is string | Uint8Array {
  if (typeof chunk === 'string' || chunk instanceof Uint8Array) return
  throw new TypeError(`A body is written as text or bytes, got ${chunk === null ? 'null' : typeof chunk}.`)
}

/** Refuses a status that node:http would refuse only when it is sent, after the commit. */
function requireStatus(statusCode: number, statusMessage: string | undefined): void {
  if (!(statusCode >= 100 && statusCode < 1000)) {
    throw new RangeError(`A status is a number from 100 to 999, got ${String(statusCode)}.`)
  }
  if (statusMessage !== undefined) validateHeaderValue('status message', statusMessage)
}
