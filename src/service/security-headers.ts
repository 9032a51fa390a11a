/** The headers that tell browsers what not to do with an answer: those of helmet. */
import type { Request, RequestHandler, Response } from 'express'
import helmet from 'helmet'

/** What helmet sets is the same for every answer, so it is asked once. */
export function securityHeaders(): RequestHandler {
  const headers: [name: string, value: string][] = []
  const recorder = {
    // Node looks headers up by their names in lower case, which it need not make anew of these. They are sent so.
    setHeader: (name: string, value: string) => headers.push([name.toLowerCase(), value]),
    removeHeader: () => undefined,
  }
  // It looks at neither, but for what it sets.
  helmet()({} as Request, recorder as unknown as Response, () => undefined)
  return (_request, response, next) => {
    for (const [name, value] of headers) response.setHeader(name, value)
    next()
  }
}
