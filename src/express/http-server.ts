/** An HTTP server whose requests and responses are what Express expects from the moment they are made. */
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
 * Express calls `Object.setPrototypeOf` on each request and each response. That alone makes every later access to
 * them slow: an Express application answers 3 to 4 times as many requests on Node 20 when it does not happen. So
 * the server is given two classes of its own, whose prototypes inherit from those that Express would set, and the
 * application is told that these are its prototypes: what it sets is then what is already there.
 *
 * Handlers, Routers and middleware see no difference. A mounted sub-application still changes prototypes, as it
 * always did; a Router does not.
 */
export function createServerFor(
  app: Express,
  listener: (request: Request, response: Response) => void,
  options: ServerOptions = {},
): Server {
  return createServer({ ...options, ...classesFor(app) }, (request, response) => {
    request.url = withoutOrigin(request.url ?? '/')
    // They are Express' by their prototypes, which the types of node:http cannot say.
    listener(request as Request, response as Response)
  })
}

/**
 * The path and query of a target that a client has written with a scheme and a host, as it would to a proxy. Express
 * answers some of those past all of an application's middleware, with a page of its own: `http://` is one.
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
