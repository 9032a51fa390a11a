/** The pool monitor: a page, what it shows as JSON and as a stream, and metrics for Prometheus. */
import path from 'node:path'
import express, { type Request, type RequestHandler, type Router } from 'express'
import { ConfigurationError, type Database } from '../../database'
import { Live } from './event-stream'
import { type DatabaseReport, Observation, type Sample } from './database-stats'
import type * as PrometheusModule from './prometheus'

/** What `GET pool.json` answers. */
export interface MonitorReport {
  readonly process: { readonly pid: number; readonly uptimeSeconds: number }
  readonly databases: readonly (DatabaseReport & { readonly samples: readonly Sample[] })[]
}

/** A Router that also listens to Databases. */
export interface Monitor extends Router {
  /** Ends its streams and stops listening; the figures stay as they are. `serve` does this for its own. */
  close(): void
}

/** Scripts, styles and data from here, and nothing from anywhere else, nor inside of somebody else's page. */
const HEADERS = {
  'Content-Security-Policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'X-Content-Type-Options': 'nosniff',
  'Referrer-Policy': 'no-referrer',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Cache-Control': 'no-store',
}

/** Beside this file, where the build puts them as well. */
const ASSETS = path.join(__dirname, 'assets')

/**
 * Answers, below where it is mounted, `GET /` with a page that shows live who holds what, `/pool.json` with the same as
 * JSON, `/events` with the same as a stream, and `/metrics` for Prometheus.
 *
 * It shows labels, places in the program and statements, though never their values: mount it where only operators
 * come. `serve(app, { admin: { port } })` does so, on a listener of its own.
 *
 * It listens from the moment it is made, so make it before `connect()`. Per statement that costs some microseconds.
 *
 * @throws ConfigurationError when it is given no database
 * @example
 * app.use('/monitor', monitor(database))
 */
export function monitor(...databases: readonly Database[]): Monitor {
  if (databases.length === 0)
    throw new ConfigurationError('monitor() takes the databases that it shall show.')
  const named = byName(databases)
  const observations = [...named].map(([name, database]) => new Observation(database, name))
  const live = new Live(observations)
  // Loaded with the first monitor: many applications have none.
  const { Prometheus } = require('./prometheus') as typeof PrometheusModule
  const prometheus = new Prometheus(named)
  const router = express.Router({ strict: true })
  router.get(['/', '/pool.json', '/events', '/metrics'], (_request, response, next) => {
    response.set(HEADERS)
    next()
  })
  router.get('/', withSlash, (_request, response) => {
    response.sendFile('page.html', { root: ASSETS, cacheControl: false })
  })
  router.get('/pool.json', (_request, response) => {
    response.json(reportOf(observations))
  })
  router.get('/events', (request, response) => {
    // Express answers HEAD by the same handler, and this one does not end.
    if (request.method === 'HEAD') response.type('text/event-stream').end()
    else live.add(request, response)
  })
  router.get('/metrics', async (_request, response) => {
    response.set('Content-Type', prometheus.contentType).send(await prometheus.text())
  })
  router.use('/assets', express.static(ASSETS, { index: false, setHeaders: (to) => void to.set(HEADERS) }))
  return Object.assign(router, {
    close() {
      live.close()
      prometheus.close()
      for (const observation of observations) observation.close()
    },
  })
}

function reportOf(observations: readonly Observation[]): MonitorReport {
  return {
    process: { pid: process.pid, uptimeSeconds: Math.round(process.uptime()) },
    databases: observations.map((one) => ({ ...one.report(), samples: one.samples })),
  }
}

/** Two of the same name would be one in the metrics. */
function byName(databases: readonly Database[]): Map<string, Database> {
  const named = new Map<string, Database>()
  for (const database of new Set(databases)) {
    let name = database.name
    for (let number = 2; named.has(name); number += 1) name = `${database.name} (${number})`
    named.set(name, database)
  }
  return named
}

/** The page asks for what is below it, which needs a slash at the end of its own address. */
const withSlash: RequestHandler = (request, response, next) => {
  if (pathOf(request).endsWith('/')) next()
  else response.redirect(308, `${request.baseUrl.split('/').at(-1) ?? ''}/`)
}

function pathOf({ originalUrl }: Request): string {
  return originalUrl.split('?', 1)[0] ?? ''
}
