/** The admin listener of a served application, for operators: the pool monitor, metrics and health. */
import type { Server } from 'node:http'
import { isIP } from 'node:net'
import express, { type Express, type RequestHandler } from 'express'
import { type Database, ConfigurationError } from '../database'
import { settlesWithin } from './shutdown-step'
import { health, setShuttingDown } from './health'
import { createServerFor } from './http-server'
import { listen, urlOf } from './listen'
import { type Monitor, monitor } from './monitor/monitor'
import { notFound, problems } from './problems'
import { type ServedDatabase, databaseEntry } from './database-entry'

export interface AdminOptions {
  /** 0 takes any free port. */
  readonly port: number
  /** Default 127.0.0.1. There is no login: everyone who can reach the listener sees labels, statements and addresses. */
  readonly host?: string
  /** Default: the databases of the application. */
  readonly databases?: readonly (Database | ServedDatabase)[]
}

/** How long a close waits for answers that are being sent, such as a scrape of metrics. */
const CLOSE_GRACE_MILLIS = 500

const LOOPBACK = ['127.0.0.1', '::1', 'localhost']

export class AdminListener {
  readonly #options: Required<AdminOptions>
  readonly #app: Express = express()
  readonly #monitor: Monitor | null
  readonly #server: Server

  constructor({ port, host = '127.0.0.1', databases = [] }: AdminOptions) {
    this.#options = { port, host, databases }
    const watched = databases.map((one) => databaseEntry(one).database)
    this.#monitor = watched.length > 0 ? monitor(...watched) : null
    this.#app.disable('x-powered-by')
    if (LOOPBACK.includes(host)) this.#app.use(refuseForeignHosts)
    this.#app.use(health(...databases))
    if (this.#monitor !== null) this.#app.use(this.#monitor)
    this.#app.use(notFound(), problems())
    this.#server = createServerFor(this.#app, this.#app)
  }

  get url(): string {
    return urlOf(this.#server)
  }

  /** @throws ListenError */
  async start(): Promise<void> {
    try {
      await listen(this.#server, this.#options.port, this.#options.host)
    } catch (error) {
      this.#monitor?.close()
      throw error
    }
  }

  /** Turns readiness off, as `serve` does for the application. */
  drain(): void {
    setShuttingDown(this.#app, true)
  }

  async close(): Promise<void> {
    this.drain()
    this.#monitor?.close()
    if (!this.#server.listening) return
    const closed = new Promise<void>((resolve) => {
      this.#server.close(() => resolve())
    })
    await settlesWithin(closed, CLOSE_GRACE_MILLIS)
    this.#server.closeAllConnections()
    await closed
  }
}

/**
 * Refuses requests for other host names (DNS rebinding): a foreign page can have its own name resolve to 127.0.0.1 and then
 * read these answers, but its requests carry that name in their Host header. A request without one, such as HTTP/1.0 of a
 * load balancer, does not come from a page.
 */
const refuseForeignHosts: RequestHandler = (request, response, next) => {
  const hostname = (request.headers.host ?? '').replace(/:\d+$/, '').toLowerCase()
  const isLocal = hostname === '' || hostname === 'localhost' || hostname.endsWith('.localhost')
  if (isLocal || isIP(hostname.replace(/^\[|\]$/g, '')) > 0) next()
  else
    response
      .status(403)
      .json({ detail: 'On this address only requests to localhost, or to an IP address, are answered.' })
}

/** @throws ConfigurationError for an option that is unknown or impossible */
export function checkAdmin(admin: AdminOptions | false): void {
  if (admin === false) return
  const known = ['port', 'host', 'databases']
  const unknown = Object.keys(admin).find((name) => !known.includes(name))
  if (unknown !== undefined) {
    throw new ConfigurationError(`admin has no option '${unknown}'. Known ones are ${known.join(', ')}.`)
  }
  const { port } = admin
  if (!Number.isInteger(port) || port < 0 || port > 65_535) {
    throw new ConfigurationError(`admin.port is a whole number from 0 to 65535, got ${String(port)}.`)
  }
}
