/** Sets the security headers of helmet, which restrict what browsers do with an answer. */
import type { Request, RequestHandler, Response } from 'express'
import helmet from 'helmet'

/** Records helmet's headers once, because they are the same for every answer. */
export function securityHeaders(): RequestHandler {
  const headers: [name: string, value: string][] = []
  const recorder = {
    // Lower case, because Node looks headers up by that and need not convert the names again. They are sent in it too.
    setHeader: (name: string, value: string) => headers.push([name.toLowerCase(), value]),
    removeHeader: () => undefined,
  }
  // helmet uses nothing of the request, and only these two methods of the response.
  helmet()({} as Request, recorder as unknown as Response, () => undefined)
  return (_request, response, next) => {
    for (const [name, value] of headers) response.setHeader(name, value)
    next()
  }
}
