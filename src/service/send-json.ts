/** Sends an answer as JSON in one write, with an ETag, so that an unchanged one can be answered with 304. */
import { hash } from 'node:crypto'
import type { Request, Response } from 'express'

export interface JsonAnswer {
  readonly status: number
  /** Null for an answer without a body. */
  readonly body: unknown
  readonly headers?: Readonly<Record<string, string>>
}

/**
 * Replaces Express' `json()`, which makes a Buffer for the ETag: Node writes a Buffer separately from the headers, but a
 * string together with them.
 */
export function sendJson(request: Request, response: Response, { status, body, headers }: JsonAnswer): void {
  response.statusCode = status
  for (const name in headers) response.setHeader(name, headers[name] ?? '')
  if (body === null) {
    response.end()
    return
  }
  const text = JSON.stringify(body)
  if (request.method === 'GET' || request.method === 'HEAD') {
    response.setHeader('ETag', etagOf(text))
    // Only If-None-Match matters, because no answer has a Last-Modified.
    if (request.headers['if-none-match'] !== undefined && request.fresh) {
      response.statusCode = 304
      response.end()
      return
    }
  }
  response.setHeader('Content-Type', 'application/json; charset=utf-8')
  response.setHeader('Content-Length', Buffer.byteLength(text))
  response.end(text)
}

/** Returns a weak ETag, since a proxy may compress the answer: https://www.rfc-editor.org/rfc/rfc9110#name-etag */
function etagOf(text: string): string {
  return `W/"${text.length.toString(16)}-${hash('sha1', text, 'base64url')}"`
}
