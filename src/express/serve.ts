/** Runs an application: connects its databases, listens, and ends without cutting an answer off. */
import { once } from 'node:events'
import type { Server } from 'node:http'
import { constants } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Express, Request, Response } from 'express'
import { runInScope } from '../database'
import { Admin } from './admin'
import { connect, LateDatabase } from './connect-databases'
import { type Begun, disconnectionOf, end, messageOf, settles } from './shutdown-step'
import { setShuttingDown } from './health'
import { createServerFor } from './http-server'
import { listen, urlOf } from './listen'
import { openScope } from './request-scope'
import { type ServeOptions, type ServeSettings, settle } from './serve-options'
import { Traffic } from './open-requests'

/**
 * Serves an application until it is told to end.
 *
 * Opens the listener for operators, if `admin` asks for one, connects the databases in the order given, runs
 * `onStartup`, listens, and resolves. On SIGTERM or SIGINT the
 * readiness goes off; after the grace for load balancers it accepts no more connections, answers what is in flight
 * and what still comes on connections that are open (with `Connection: close`), runs `onShutdown`, disconnects the
 * databases in reverse order and exits with 0. What is still stuck at the time limit is named in the log, cancelled
 * and destroyed, and the exit code is 1. A request whose body stops coming for two seconds meanwhile is answered 408.
 * A second signal ends the process at once.
 *
 * Every request runs in a scope of its own: see `requestScope`.
 *
 * @throws ListenError when the port is in use or may not be used
 * @throws ConfigurationError for an option that is unknown or impossible
 * @throws what `connect()` or `onStartup` throws; whatever had been connected by then is disconnected again
 * @example
 * await serve(app, { port: 3000, databases: [database] })
 */
export async function serve(app: Express, options: ServeOptions = {}): Promise<Serving> {
  const serving = new Serving(app, settle(options))
  await serving[START]()
  return serving
}

const START = Symbol('start')

/** A Ctrl-C reaches us twice under npm: from the terminal, and right after it from npm, which passes it on. */
const ECHO_MILLIS = 300

/** An application that is being served. */
export class Serving implements AsyncDisposable {
  readonly server: Server
  readonly #app: Express
  readonly #settings: ServeSettings
  readonly #traffic: Traffic
  readonly #admin: Admin | null
  /** What was begun and has to be ended, in the order of beginning. */
  readonly #begun: Begun[] = []
  /** Aborted by a signal that comes before the start is over. */
  readonly #start = new AbortController()
  #isStarted = false
  /** The signal that ends it, and when it came. */
  #stopping: { readonly signal: NodeJS.Signals; readonly since: number } | null = null
  readonly #onSignal = (signal: NodeJS.Signals) => this.#stop(signal)
  #closing: Promise<void> | null = null

  constructor(app: Express, settings: ServeSettings) {
    this.#app = app
    this.#settings = settings
    const receive = (request: Request, response: Response): void => {
      const scope = openScope(request, response, settings.requestTimeoutMillis)
      if (this.#traffic.enter(scope, response)) scope.run(() => app(request, response))
    }
    this.server = createServerFor(app, receive, patienceOf(settings))
    this.#traffic = new Traffic(this.server)
    const { admin, databases } = settings
    this.#admin = admin === false ? null : new Admin({ databases, ...admin })
  }

  /** Where it listens, such as `http://127.0.0.1:3000`. */
  get url(): string {
    return urlOf(this.server)
  }

  get port(): number {
    return Number(new URL(this.url).port || 80)
  }

  /** Where operators look, or null without the option `admin`. */
  get adminUrl(): string | null {
    return this.#admin?.url ?? null
  }

  /**
   * Ends it as a signal would, but leaves the process alone. May be called again, and gives the same promise.
   *
   * @throws ShutdownError naming what did not end in time or failed to end
   */
  close(): Promise<void> {
    return (this.#closing ??= this.#close())
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async [START](): Promise<void> {
    const { databases, host, logger, onShutdown, onStartup, port, signals } = this.#settings
    for (const signal of signals) process.on(signal, this.#onSignal)
    setShuttingDown(this.#app, false)
    const stopped = once(this.#start.signal, 'abort').then(() => this.#start.signal.throwIfAborted())
    const unlessStopped = (step: unknown): Promise<unknown> => Promise.race([step, stopped])
    try {
      await this.#startAdmin(unlessStopped)
      for (const { database, required } of databases) {
        if (required) {
          this.#begun.push(disconnectionOf(database))
          await unlessStopped(this.#inScope(() => connect(database, logger)))
        } else {
          const late = new LateDatabase(database, logger)
          this.#begun.push(late.begun)
          await unlessStopped(late.start())
        }
      }
      await unlessStopped(this.#inScope(onStartup))
      this.#begun.push({ name: 'onShutdown', end: async () => void (await onShutdown()) })
      await unlessStopped(listen(this.server, port, host))
      this.server.on('error', (error) => logger.error(`the HTTP server reports: ${error.message}`))
      this.#isStarted = true
    } catch (error) {
      // The first error is the reason; what goes wrong while cleaning up after it would only hide it.
      await this.close().catch(() => {})
      throw error
    }
    logger.info(`listening on ${this.url}`)
  }

  /** First of all, so that a start that takes long can be watched; ended last. */
  async #startAdmin(unlessStopped: (step: unknown) => Promise<unknown>): Promise<void> {
    const admin = this.#admin
    if (admin === null) return
    this.#begun.push({ name: 'the listener for operators', end: () => admin.close() })
    await unlessStopped(admin.start())
    this.#settings.logger.info(`pool monitor and metrics on ${admin.url}`)
  }

  /** A signal cancels the queries of the start, rather than waiting for them. */
  #inScope(work: () => unknown): unknown {
    return runInScope({ label: 'start-up', signal: this.#start.signal }, work)
  }

  #stop(signal: NodeJS.Signals): void {
    const { exit, logger } = this.#settings
    if (this.#stopping !== null) {
      const { signal: first, since } = this.#stopping
      if (signal === first && performance.now() - since < ECHO_MILLIS) return
      logger.warn(`${signal} again: ending at once`)
      exit(128 + constants.signals[signal], signal)
      return
    }
    this.#stopping = { signal, since: performance.now() }
    logger.info(`${signal}: shutting down, ${this.#traffic.requests} requests in flight`)
    if (!this.#isStarted) this.#start.abort(new Error(`${signal} came before the application was started.`))
    void this.#closeAndExit()
  }

  async #closeAndExit(): Promise<void> {
    const { exit, logger } = this.#settings
    try {
      await this.close()
      logger.info('shut down')
      exit(0)
    } catch (error) {
      logger.error(messageOf(error))
      exit(1)
    }
  }

  async #close(): Promise<void> {
    const { logger, readinessGraceMillis, shutdownTimeoutMillis, signals } = this.#settings
    const limit = performance.now() + shutdownTimeoutMillis
    const complaints: string[] = []
    setShuttingDown(this.#app, true)
    this.#admin?.drain()
    if (this.server.listening) {
      this.#traffic.drain()
      await sleep(readinessGraceMillis)
      const millisLeft = Math.max(limit - performance.now(), 0)
      const closed = this.#traffic.close({
        // Quiet connections must not use up the time of what comes after them.
        keepAliveGraceMillis: Math.min(this.#settings.keepAliveGraceMillis, millisLeft / 2),
        onGivenUp: (label) => logger.warn(`${label} was given up: the rest of its body did not come`),
      })
      await settles(closed, millisLeft)
      const unanswered = this.#traffic.unanswered()
      if (unanswered.length > 0) complaints.push(`not answered: ${unanswered.join(', ')}`)
      this.#traffic.destroy()
    }
    for (const begun of this.#begun.toReversed()) complaints.push(...(await end(begun, limit)))
    for (const signal of signals) process.off(signal, this.#onSignal)
    if (complaints.length > 0) throw new ShutdownError(complaints)
  }
}

/** How long clients may take to send a request. Node looks for slow ones from time to time only. */
function patienceOf({ headersTimeoutMillis, receiveTimeoutMillis }: ServeSettings) {
  return {
    // Node refuses headers that may take longer than the whole of which they are a part.
    headersTimeout: Math.min(headersTimeoutMillis, receiveTimeoutMillis || Infinity),
    requestTimeout: receiveTimeoutMillis,
    connectionsCheckingInterval: Math.max(100, Math.min(headersTimeoutMillis / 4, 5000)),
  }
}

/** The shutdown took longer than its limit, or a part of it failed. All has been ended nevertheless. */
export class ShutdownError extends Error {
  constructor(readonly complaints: readonly string[]) {
    super(`The shutdown was not clean: ${complaints.join('; ')}.`)
    this.name = 'ShutdownError'
  }
}
