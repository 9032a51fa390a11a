/** The pool monitor: a page, its data as JSON and as a stream, and metrics for Prometheus. */
import path from 'node:path'
import express, { type Request, type RequestHandler, type Router } from 'express'
import { ConfigurationError, type Database } from '../../database'
import { EventStream } from './event-stream'
import { type DatabaseReport, DatabaseStats, type Sample } from './database-stats'
import type * as PageFilesModule from './page-files'
import type * as PrometheusModule from './prometheus'

/** The answer of `GET pool.json`. */
export interface MonitorReport {
  readonly process: { readonly pid: number; readonly uptimeSeconds: number }
  readonly databases: readonly (DatabaseReport & { readonly samples: readonly Sample[] })[]
}

/** A Router that also listens to events of Databases. */
export interface Monitor extends Router {
  /** Ends the event streams and stops listening to events; the figures stay as they are. `serve` calls this for its monitor. */
  close(): void
}

/** Allows scripts, styles and data from this server only, and forbids framing by other pages. */
const HEADERS = {
  'Content-Security-Policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'X-Content-Type-Options': 'nosniff',
  'Referrer-Policy': 'no-referrer',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Cache-Control': 'no-store',
}

/**
 * Returns a router that answers `GET /` with a page that shows live who holds which connections, `/pool.json` with the same
 * data as JSON, `/events` with the same as a stream, and `/metrics` for Prometheus.
 *
 * It shows labels, call sites and statements, though never their values: mount it where only operators have access.
 * `serve(app, { admin: { port } })` mounts it on a separate listener.
 *
 * The monitor listens to events as soon as it is made, so make it before `connect()`. That costs some microseconds per
 * statement.
 *
 * @throws ConfigurationError without any database, or without the package prom-client
 * @example
 * app.use('/monitor', monitor(database))
 */
export function monitor(...databases: readonly Database[]): Monitor {
  if (databases.length === 0)
    throw new ConfigurationError('monitor() takes the databases that it shall show.')
  const named = byName(databases)
  const allStats = [...named].map(([name, database]) => new DatabaseStats(database, name))
  const stream = new EventStream(allStats)
  // Loaded here, because many applications have no monitor.
  const { pageFiles } = require('./page-files') as typeof PageFilesModule
  const { Prometheus } = loadPrometheus()
  const prometheus = new Prometheus(named)
  const router = express.Router({ strict: true })
  router.get(['/', '/pool.json', '/events', '/metrics'], (_request, response, next) => {
    response.set(HEADERS)
    next()
  })
  router.get('/', withSlash, (_request, response) => {
    response.type('html').send(pageFiles.get('page.html'))
  })
  router.get('/pool.json', (_request, response) => {
    response.json(reportOf(allStats))
  })
  router.get('/events', (request, response) => {
    // Express calls this handler for HEAD as well, and the stream would not end.
    if (request.method === 'HEAD') response.type('text/event-stream').end()
    else stream.add(request, response)
  })
  router.get('/metrics', async (_request, response) => {
    response.set('Content-Type', prometheus.contentType).send(await prometheus.text())
  })
  router.get('/assets/:name', ({ params: { name } }, response, next) => {
    const content = pageFiles.get(name)
    if (content === undefined) next()
    else response.set(HEADERS).type(path.extname(name)).send(content)
  })
  return Object.assign(router, {
    close() {
      stream.close()
      prometheus.close()
      for (const stats of allStats) stats.close()
    },
  })
}

/** @throws ConfigurationError when prom-client is not installed */
function loadPrometheus(): typeof PrometheusModule {
  try {
    return require('./prometheus') as typeof PrometheusModule
  } catch (cause) {
    throw new ConfigurationError('The metrics of the monitor need prom-client: `npm install prom-client`.', {
      cause,
    })
  }
}

function reportOf(allStats: readonly DatabaseStats[]): MonitorReport {
  return {
    process: { pid: process.pid, uptimeSeconds: Math.round(process.uptime()) },
    databases: allStats.map((one) => ({ ...one.report(), samples: one.samples })),
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

/** Redirects to the address with a slash at its end, which the relative addresses of the page need. */
const withSlash: RequestHandler = (request, response, next) => {
  if (pathOf(request).endsWith('/')) next()
  else response.redirect(308, `${request.baseUrl.split('/').at(-1) ?? ''}/`)
}

function pathOf({ originalUrl }: Request): string {
  return originalUrl.split('?', 1)[0] ?? ''
}
