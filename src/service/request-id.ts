/** What a request is called in logs: by its client, by a trace that it is part of, or by us. */
import { randomUUID } from 'node:crypto'
import type { Request, RequestHandler } from 'express'

const HEADER = 'X-Request-Id'

/** What comes from outside goes into logs and into a header, so it is short and plain, or it is not used. */
const ACCEPTABLE = /^[\w.:/+=-]{1,128}$/

/** Gives each answer an `X-Request-Id`: that of the request, or its trace's id, or a new one. */
export function requestId(): RequestHandler {
  return (request, response, next) => {
    const own = request.get(HEADER)
    const id = own !== undefined && ACCEPTABLE.test(own) ? own : (traceIdOf(request) ?? randomUUID())
    response.setHeader(HEADER, id)
    next()
  }
}

/** The names of a request in a line of the log. */
export function idsOf(request: Request): { requestId?: string; traceId?: string } {
  const id = request.res?.getHeader(HEADER)
  const traceId = traceIdOf(request)
  return { ...(typeof id === 'string' && { requestId: id }), ...(traceId !== undefined && { traceId }) }
}

/** Version, trace, parent, flags. A later version may have more behind it. https://www.w3.org/TR/trace-context/ */
const TRACE_PARENT =
  /^(?!ff)(?<version>[\da-f]{2})-(?!0{32})(?<trace>[\da-f]{32})-(?!0{16})[\da-f]{16}-[\da-f]{2}(?<more>-.*)?$/

function traceIdOf(request: Request): string | undefined {
  const parent = request.get('traceparent')
  if (parent === undefined) return undefined
  const { version, trace, more } = TRACE_PARENT.exec(parent)?.groups ?? {}
  return version === '00' && more !== undefined ? undefined : trace
}
