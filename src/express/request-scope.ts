/** The scope of a request: the label and deadline of its queries, and a signal that aborts when the client goes away. */
import type { Request, RequestHandler, Response } from 'express'
import { Canceller, runInScope, type Tally } from '../database'
import { keepScope } from './listeners'

export interface RequestScopeOptions {
  /** How long the queries of one request may take in total. Default 0: no limit. */
  readonly timeoutMillis?: number
}

/**
 * Gives each request a scope of its own: the label `METHOD /route`, a signal that aborts when the client goes away
 * before it was answered, and a deadline. They apply to every query made while the request is handled.
 *
 * `serve` does this by itself. The middleware is for applications that call `listen` themselves, and for supertest; where
 * both are in use, the first one counts. Mount it before everything else.
 *
 * @example
 * const app = express().use(requestScope({ timeoutMillis: 10_000 }))
 */
export function requestScope(options: RequestScopeOptions = {}): RequestHandler {
  return (request, response, next) => {
    if (SCOPE in request) next()
    else openScope(request, response, options.timeoutMillis ?? 0).run(next)
  }
}

const SCOPE = Symbol('millpond.scope')

/** Opens the scope of a request. */
export function openScope(request: Request, response: Response, timeoutMillis: number): RequestScope {
  const scope = new RequestScope(request, response, timeoutMillis)
  // Kept on the request, because AsyncLocalStorage is empty when a socket emits events.
  Object.assign(request, { [SCOPE]: scope })
  response.once('close', () => {
    if (response.writableEnded) return
    scope.abort()
    // A handler that streams may wait for `drain` for ever. It goes on now, and its next query fails.
    setImmediate(() => response.emit('drain'))
  })
  return scope
}

/**
 * Returns what a request has asked of its databases so far: the number of statements, and how long they took and waited.
 * Returns undefined for a request that has no scope.
 *
 * @example
 * response.once('close', () => logger.info({ route: routeOf(request), ...tallyOf(request) }))
 */
export function tallyOf(request: Request): Readonly<Tally> | undefined {
  return (request as { [SCOPE]?: RequestScope })[SCOPE]?.tally
}

function clientGone(): Error {
  return new Error('The client closed the connection before it was answered.')
}

export class RequestScope {
  readonly #request: Request
  readonly #response: Response
  readonly #startedAt = performance.now()
  #label: string | null = null
  /** The route for which the label was made. */
  #labelledRoute: unknown
  readonly deadline: number | undefined
  readonly tally: Tally = { statements: 0, waitMillis: 0, databaseMillis: 0 }
  readonly signal = new Canceller(clientGone)

  constructor(request: Request, response: Response, timeoutMillis: number) {
    this.#request = request
    this.#response = response
    this.deadline = timeoutMillis === 0 ? undefined : this.#startedAt + timeoutMillis
  }

  /**
   * The label `METHOD /route`. The route is known only after Express has matched it, so the label is made when it is read,
   * and kept while the route stays the same.
   */
  get label(): string {
    const { method, route } = this.#request as { method: string; route: unknown }
    if (this.#label === null || this.#labelledRoute !== route) {
      this.#label = `${method} ${routeOf(this.#request)}`
      this.#labelledRoute = route
    }
    return this.#label
  }

  get ageMillis(): number {
    return performance.now() - this.#startedAt
  }

  /** Aborts the scope's signal. Default reason: the client has gone away. */
  abort(reason?: Error): void {
    this.signal.abort(reason)
  }

  /** Calls `work`, the handlers of the request, in this scope. */
  run<T>(work: () => T): T {
    return runInScope(this, () => {
      keepScope(this.#request, this.#response)
      return work()
    })
  }
}

/** Returns the route's pattern, such as `/users/:id`, or the path while no route is known; never the query string. */
export function routeOf(request: Request): string {
  const pattern: unknown = (request.route as { path?: unknown } | undefined)?.path
  if (typeof pattern === 'string') return request.baseUrl + pattern
  const path = request.originalUrl ?? request.url
  const end = path.indexOf('?')
  return end < 0 ? path : path.slice(0, end)
}
