/** A response that is kept back: what the handler answers is remembered, and sent or thrown away later. */
import { type OutgoingHttpHeaders, validateHeaderValue } from 'node:http'
import type { Response } from 'express'

/** What is said before the body. */
interface Head {
  readonly statusCode: number
  readonly statusMessage: string
  readonly headers: OutgoingHttpHeaders
}

/** Where the response itself has whoever keeps it back. */
const HELD = Symbol('millpond.held')

const REPLACED = ['write', 'end', 'writeHead', 'flushHeaders', 'headersSent', 'writableEnded', HELD] as const

/** For an error whose answer takes the place of one that was begun: forgets that, if it is kept back and not complete. */
export function startAgain(response: Response): void {
  const held = (response as { readonly [HELD]?: HeldResponse })[HELD]
  held?.forget()
}

/**
 * Keeps back whatever is written to a response from now on. To the handler it looks as if it had been sent. The first
 * complete answer counts; what a handler writes after it is ignored.
 */
export class HeldResponse {
  /** Resolves when the answer is complete to its status, and to null when the client has gone away before that. */
  readonly status: Promise<number | null>
  readonly #response: Response
  readonly #before: Head
  readonly #replaced: PropertyDescriptorMap
  #answer: Head | null = null
  #isBegun = false
  #body: (() => void)[] = []

  constructor(response: Response) {
    this.#response = response
    this.#before = headOf(response)
    // Other middleware, such as compression, may have replaced them before, and gets them back.
    this.#replaced = Object.fromEntries(
      REPLACED.map((name) => [name, Object.getOwnPropertyDescriptor(response, name)] as const).filter(
        (entry): entry is [(typeof REPLACED)[number], PropertyDescriptor] => entry[1] !== undefined,
      ),
    )
    this.status = new Promise((resolve) => {
      response.once('close', () => resolve(null))
      // What listens already, and this, are not to make Node complain about those that a stream adds.
      response.setMaxListeners(response.getMaxListeners() + response.listenerCount('close'))
      // Who left before this began will not be told of again.
      if (response.destroyed || response.req.socket.destroyed) resolve(null)
      this.#replace({
        write: (chunk: unknown, ...rest: unknown[]) => {
          refuseNoChunk(chunk)
          const done = rest.find((one) => typeof one === 'function') as (() => void) | undefined
          // Whoever waits for it before he goes on would wait for ever, and may use his buffer again after it.
          if (done !== undefined) process.nextTick(done)
          const kept = done !== undefined && typeof chunk !== 'string' ? Buffer.from(chunk) : chunk
          const encoding = rest.find((one) => typeof one === 'string') as BufferEncoding
          this.#isBegun = true
          if (this.#answer === null) this.#body.push(() => response.write(kept, encoding))
          return true
        },
        end: (...args: Parameters<Response['end']>) => {
          if (this.#answer === null) {
            const [chunk] = args as readonly unknown[]
            if (chunk !== undefined && chunk !== null && typeof chunk !== 'function') refuseNoChunk(chunk)
            refuseNoStatus(response.statusCode, response.statusMessage)
            this.#answer = headOf(response)
            this.#body.push(() => response.end(...args))
            resolve(this.#answer.statusCode)
          }
          return response
        },
        writeHead: (statusCode: number, ...rest: unknown[]) => {
          this.#isBegun = true
          if (this.#answer === null) writeHead(response, statusCode, rest)
          return response
        },
        flushHeaders: () => {
          this.#isBegun = true
        },
      })
    })
  }

  /** Sends the answer that was kept back. */
  send(): void {
    this.#letGo()
    if (this.#answer === null || this.#response.destroyed) return
    restore(this.#response, this.#answer)
    for (const write of this.#body) write()
  }

  /** Forgets the answer, so that another one can be given. */
  discard(): void {
    this.#letGo()
    this.#body = []
    restore(this.#response, this.#before)
  }

  /** Forgets what there is of an answer that is not complete, and goes on keeping back. */
  forget(): void {
    if (this.#answer !== null || !this.#isBegun) return
    this.#isBegun = false
    this.#body = []
    restore(this.#response, this.#before)
  }

  #replace(methods: Record<'write' | 'end' | 'writeHead' | 'flushHeaders', unknown>): void {
    for (const [name, value] of Object.entries(methods)) {
      Object.defineProperty(this.#response, name, { value, configurable: true, writable: true })
    }
    const isEnded = (): boolean => this.#answer !== null
    const has = { configurable: true }
    Object.defineProperty(this.#response, 'headersSent', { get: () => this.#isBegun || isEnded(), ...has })
    Object.defineProperty(this.#response, 'writableEnded', { get: isEnded, ...has })
    Object.defineProperty(this.#response, HELD, { value: this, ...has })
  }

  #letGo(): void {
    for (const name of REPLACED) Reflect.deleteProperty(this.#response, name)
    Object.defineProperties(this.#response, this.#replaced)
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

/** writeHead without the writing: node:http takes the headers as an object, as pairs, or as one flat list. */
function writeHead(response: Response, statusCode: number, rest: readonly unknown[]): void {
  response.statusCode = statusCode
  if (typeof rest[0] === 'string') response.statusMessage = rest[0]
  refuseNoStatus(statusCode, response.statusMessage)
  const headers = rest.find((value) => typeof value === 'object' && value !== null) ?? {}
  if (!Array.isArray(headers)) {
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value as string)
    return
  }
  // A list may name one of them several times, such as Set-Cookie.
  const flat = headers.flat(1) as string[]
  const pairs = flat.flatMap((name, at) => (at % 2 === 0 ? [[name, flat[at + 1] ?? ''] as const] : []))
  for (const [name] of pairs) response.removeHeader(name)
  for (const [name, value] of pairs) response.appendHeader(name, value)
}

/** node:http would refuse it when it is sent, and that is after the commit. */
function refuseNoChunk(chunk: unknown): asserts chunk is string | Uint8Array {
  if (typeof chunk === 'string' || chunk instanceof Uint8Array) return
  throw new TypeError(`A body is written as text or bytes, got ${chunk === null ? 'null' : typeof chunk}.`)
}

/** The same. */
function refuseNoStatus(statusCode: number, statusMessage: string | undefined): void {
  if (!(statusCode >= 100 && statusCode < 1000)) {
    throw new RangeError(`A status is a number from 100 to 999, got ${String(statusCode)}.`)
  }
  if (statusMessage !== undefined) validateHeaderValue('status message', statusMessage)
}
