/** The scope of a request: what its queries are called, until when they may run, and whether anybody still waits. */
import type { Request, RequestHandler, Response } from 'express'
import { Canceller, runInScope, type Tally } from '../database'
import { keepScope } from './listeners'

export interface RequestScopeOptions {
  /** How long the queries of one request may take together. Default 0: no limit. */
  readonly timeoutMillis?: number
}

/**
 * Gives each request a scope of its own: the label `METHOD /route`, a signal that aborts when the client goes away
 * before it was answered, and a deadline. Every query made while the request is handled is subject to them.
 *
 * `serve` does this by itself. The middleware is for applications that call `listen` on their own, and for
 * supertest; where both are in use, the first one counts. Put it before everything else.
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

/** Opens the scope of a request that has none yet. */
export function openScope(request: Request, response: Response, timeoutMillis: number): OpenScope {
  const scope = new OpenScope(request, response, timeoutMillis)
  // Kept on the request rather than looked up: AsyncLocalStorage is empty when a socket's events come.
  Object.assign(request, { [SCOPE]: scope })
  response.once('close', () => {
    if (response.writableEnded) return
    scope.abort()
    // A handler that streams may be waiting for it, and would wait for ever: its next query tells it how things are.
    setImmediate(() => response.emit('drain'))
  })
  return scope
}

/**
 * What a request has asked of its databases so far: how many statements, and how long they took and waited. Undefined
 * for a request that is not in a scope.
 *
 * @example
 * response.once('close', () => logger.info({ route: routeOf(request), ...tallyOf(request) }))
 */
export function tallyOf(request: Request): Readonly<Tally> | undefined {
  return (request as { [SCOPE]?: OpenScope })[SCOPE]?.tally
}

function clientGone(): Error {
  return new Error('The client closed the connection before it was answered.')
}

export class OpenScope {
  readonly #request: Request
  readonly #response: Response
  readonly #since = performance.now()
  #label: string | null = null
  /** The route that the label is of. */
  #labelled: unknown
  readonly deadline: number | undefined
  readonly tally: Tally = { statements: 0, waitMillis: 0, databaseMillis: 0 }
  readonly signal = new Canceller(clientGone)

  constructor(request: Request, response: Response, timeoutMillis: number) {
    this.#request = request
    this.#response = response
    this.deadline = timeoutMillis === 0 ? undefined : this.#since + timeoutMillis
  }

  /**
   * The route is known only after Express has matched it, so the label is put together when it is read, and kept while
   * the route is the same.
   */
  get label(): string {
    const { method, route } = this.#request as { method: string; route: unknown }
    if (this.#label === null || this.#labelled !== route) {
      this.#label = `${method} ${routeOf(this.#request)}`
      this.#labelled = route
    }
    return this.#label
  }

  get ageMillis(): number {
    return performance.now() - this.#since
  }

  /** `reason`: where it is another one than that the client has gone. */
  abort(reason?: Error): void {
    this.signal.abort(reason)
  }

  /** Calls the handlers of the request. */
  run<T>(work: () => T): T {
    return runInScope(this, () => {
      keepScope(this.#request, this.#response)
      return work()
    })
  }
}

/** The route's pattern, such as `/users/:id`, or the path while no route is known; never the query string. */
export function routeOf(request: Request): string {
  const pattern: unknown = (request.route as { path?: unknown } | undefined)?.path
  if (typeof pattern === 'string') return request.baseUrl + pattern
  const path = request.originalUrl ?? request.url
  const end = path.indexOf('?')
  return end < 0 ? path : path.slice(0, end)
}
