/** The id of a request in logs: the client's, that of its trace, or a new one. */
import { randomUUID } from 'node:crypto'
import type { Request, RequestHandler } from 'express'

const HEADER = 'X-Request-Id'

/** Ids from clients that are accepted: they go into logs and a header, so they must be short and plain. */
const ACCEPTABLE = /^[\w.:/+=-]{1,128}$/

/** Sets the `X-Request-Id` of each answer: that of the request, or its trace's id, or a new one. */
export function requestId(): RequestHandler {
  return (request, response, next) => {
    const own = request.get(HEADER)
    const id = own !== undefined && ACCEPTABLE.test(own) ? own : (traceIdOf(request) ?? randomUUID())
    response.setHeader(HEADER, id)
    next()
  }
}

/** Returns the ids of a request for a line of the log. */
export function idsOf(request: Request): { requestId?: string; traceId?: string } {
  const id = request.res?.getHeader(HEADER)
  const traceId = traceIdOf(request)
  return { ...(typeof id === 'string' && { requestId: id }), ...(traceId !== undefined && { traceId }) }
}

/** Version, trace, parent, flags; later versions may append more. https://www.w3.org/TR/trace-context/ */
const TRACE_PARENT =
  /^(?!ff)(?<version>[\da-f]{2})-(?!0{32})(?<trace>[\da-f]{32})-(?!0{16})[\da-f]{16}-[\da-f]{2}(?<more>-.*)?$/

function traceIdOf(request: Request): string | undefined {
  const parent = request.get('traceparent')
  if (parent === undefined) return undefined
  const { version, trace, more } = TRACE_PARENT.exec(parent)?.groups ?? {}
  return version === '00' && more !== undefined ? undefined : trace
}
