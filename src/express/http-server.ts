/** An HTTP server whose requests and responses have Express' prototypes from the start. */
import { createServer, IncomingMessage, type Server, type ServerOptions, ServerResponse } from 'node:http'
import type { Express, Request, Response } from 'express'

type Classes = {
  readonly IncomingMessage: typeof IncomingMessage
  readonly ServerResponse: typeof ServerResponse
}

// One pair per application, so that serving it again does not make its prototype chains longer.
const classesOf = new WeakMap<Express, Classes>()

/**
 * Creates the server for an application, with a listener in front of it.
 *
 * Express calls `Object.setPrototypeOf` on each request and each response, which makes every later access to them slow: an
 * Express application answers 3 to 4 times as many requests on Node 20 without it. So the server gets two classes whose
 * prototypes inherit from those that Express would set, and the application gets these prototypes as its own: what it sets
 * is then what is already there.
 *
 * Handlers, Routers and middleware see no difference. A mounted sub-application still changes prototypes, as it does
 * without this; a Router does not.
 */
export function createServerFor(
  app: Express,
  listener: (request: Request, response: Response) => void,
  options: ServerOptions = {},
): Server {
  return createServer({ ...options, ...classesFor(app) }, (request, response) => {
    request.url = withoutOrigin(request.url ?? '/')
    // The prototypes are those of Express, which the types of node:http cannot express.
    listener(request as Request, response as Response)
  })
}

/**
 * Returns the path and query of a target that a client sent with a scheme and a host, as to a proxy. Express answers some
 * such targets, `http://` for one, with a page of its own that passes by all middleware of the application.
 */
function withoutOrigin(target: string): string {
  if (target.startsWith('/')) return target
  return target.replace(/^[a-z][a-z\d+.-]*:\/\/[^/?#]*\/?/i, '/')
}

function classesFor(app: Express): Classes {
  const known = classesOf.get(app)
  if (known !== undefined) return known
  class ExpressRequest extends IncomingMessage {}
  class ExpressResponse<R extends IncomingMessage = IncomingMessage> extends ServerResponse<R> {}
  Object.setPrototypeOf(ExpressRequest.prototype, app.request)
  Object.setPrototypeOf(ExpressResponse.prototype, app.response)
  app.request = ExpressRequest.prototype as Request
  app.response = ExpressResponse.prototype as Response
  const classes = { IncomingMessage: ExpressRequest, ServerResponse: ExpressResponse }
  classesOf.set(app, classes)
  return classes
}
