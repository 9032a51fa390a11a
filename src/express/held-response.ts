/** A response that is kept back: what the handler answers is remembered, and sent or thrown away later. */
import type { OutgoingHttpHeaders } from 'node:http'
import type { Response } from 'express'

/** What is said before the body. */
interface Head {
  readonly statusCode: number
  readonly statusMessage: string
  readonly headers: OutgoingHttpHeaders
}

const REPLACED = ['write', 'end', 'writeHead', 'flushHeaders', 'headersSent', 'writableEnded'] as const

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
      // Who left before this began will not be told of again.
      if (response.destroyed || response.req.socket.destroyed) resolve(null)
      this.#replace({
        write: (...args: Parameters<Response['write']>) => {
          if (this.#answer === null) this.#body.push(() => response.write(...args))
          return true
        },
        end: (...args: Parameters<Response['end']>) => {
          if (this.#answer === null) {
            this.#answer = headOf(response)
            this.#body.push(() => response.end(...args))
            resolve(this.#answer.statusCode)
          }
          return response
        },
        writeHead: (statusCode: number, ...rest: unknown[]) => {
          if (this.#answer === null) writeHead(response, statusCode, rest)
          return response
        },
        flushHeaders: () => {},
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

  #replace(methods: Record<'write' | 'end' | 'writeHead' | 'flushHeaders', unknown>): void {
    for (const [name, value] of Object.entries(methods)) {
      Object.defineProperty(this.#response, name, { value, configurable: true, writable: true })
    }
    for (const name of ['headersSent', 'writableEnded']) {
      Object.defineProperty(this.#response, name, { get: () => this.#answer !== null, configurable: true })
    }
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
  const headers = rest.find((value) => typeof value === 'object' && value !== null) ?? {}
  const flat = Array.isArray(headers) ? (headers.flat(1) as string[]) : Object.entries(headers).flat(1)
  for (let at = 0; at + 1 < flat.length; at += 2) response.setHeader(String(flat[at]), flat[at + 1])
}
