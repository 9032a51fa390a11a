/** The service as an Express application. It does no I/O while it is made: the caller provides databases and logger. */
import express, { type Express, type RequestHandler } from 'express'
import type { Database } from '../database'
import { health, HttpProblem, methodNotAllowed, notFound, problems, requestScope, routeOf } from '../express'
import { accountRoutes } from './accounts/routes'
import { documentation } from './docs'
import { type Logger, requestLog } from './logging'
import { servedDatabase } from './migrations'
import { missingTables } from './missing-tables'
import { openApi } from './openapi'
import { postRoutes } from './posts/routes'
import { productRoutes } from './products/routes'
import { idsOf, requestId } from './request-id'
import { mount, type Route } from './route'
import { securityHeaders } from './security-headers'
import { transferRoutes } from './transfers/routes'
import { userRoutes } from './users/routes'

export interface Dependencies {
  /** Users, posts and accounts. */
  readonly main: Database
  readonly products: Database
  readonly logger: Logger
  /** Whether `/docs` and `/openapi.json` are served. Default true. */
  readonly docs?: boolean
}

export function createApp({ main, products, logger, docs = true }: Dependencies): Express {
  const routes = [
    ...userRoutes(main),
    ...postRoutes(main),
    ...accountRoutes(main),
    ...transferRoutes(main),
    ...productRoutes(products),
  ]
  const app = express()
  app.disable('x-powered-by')
  app.set('query parser', 'simple')
  const databases = [servedDatabase(main, 'main'), servedDatabase(products, 'products')]
  app.use(health(...databases), requestScope(), requestId(), requestLog(logger), securityHeaders())
  mount(app, routes)
  app.route('/').get(listEndpoints(routes, docs)).all(methodNotAllowed('GET'))
  if (docs) app.use(documentation(() => openApi(routes.map(({ definition }) => definition))))
  app.use(notFound(), missingTables)
  app.use(
    problems({
      onError: (error, request) => {
        const err: unknown = error instanceof HttpProblem ? (error.cause ?? error) : error
        logger.error({ err, ...idsOf(request) }, `${request.method} ${routeOf(request)} failed`)
      },
    }),
  )
  return app
}

/** Answers `GET /` with the endpoints, for people who open the service in a browser. */
function listEndpoints(routes: readonly Route[], docs: boolean): RequestHandler {
  const calls = routes.map(({ definition: { method, path, summary } }) => [
    `${method.toUpperCase()} ${path}`,
    summary,
  ])
  const body = JSON.stringify(
    {
      service: 'millpond',
      try: [
        '/users',
        '/posts',
        '/accounts',
        '/products',
        '/readyz',
        ...(docs ? ['/docs', '/openapi.json'] : []),
      ],
      calls: Object.fromEntries(calls) as Record<string, string>,
    },
    null,
    2,
  )
  return (_request, response) => {
    response.type('json').send(body)
  }
}
