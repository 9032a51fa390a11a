/** Serves an application: connects its databases, listens, and shuts down without cutting an answer off. */
import { once } from 'node:events'
import type { Server } from 'node:http'
import { constants } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Express, Request, Response } from 'express'
import { runInScope } from '../database'
import { AdminListener } from './admin'
import { connectRequired, OptionalDatabase } from './connect-databases'
import { type ShutdownStep, disconnectStep, runStep, messageOf, settlesWithin } from './shutdown-step'
import { setShuttingDown } from './health'
import { createServerFor } from './http-server'
import { listen, urlOf } from './listen'
import { openScope } from './request-scope'
import { type ServeOptions, type ServeSettings, resolveOptions } from './serve-options'
import { OpenRequests } from './open-requests'

/**
 * Serves an application until a signal or `close()` ends it.
 *
 * Opens the admin listener if there is the option `admin`, connects the databases in the order given, runs `onStartup`,
 * listens, and resolves. On SIGTERM or SIGINT it turns readiness off. After the grace for load balancers it accepts no more
 * connections, answers requests in flight and those that still come on open connections (with `Connection: close`), runs
 * `onShutdown`, disconnects the databases in reverse order and exits with 0. At the time limit it names in the log what is
 * still running, cancels and destroys it, and exits with 1. During a shutdown, a request whose body stops coming for two
 * seconds is answered 408. A second signal ends the process at once.
 *
 * Every request runs in a scope of its own: see `requestScope`.
 *
 * @throws ListenError when the port is in use or may not be used
 * @throws ConfigurationError for an option that is unknown or impossible
 * @throws what `connect()` or `onStartup` throws; databases connected by then are disconnected again
 * @example
 * await serve(app, { port: 3000, databases: [database] })
 */
export async function serve(app: Express, options: ServeOptions = {}): Promise<Serving> {
  const serving = new Serving(app, resolveOptions(options))
  await serving[START]()
  return serving
}

const START = Symbol('start')

/** Under npm a Ctrl-C arrives twice within this time: from the terminal, and from npm, which forwards it. */
const REPEATED_SIGNAL_MILLIS = 300

/** An application that is being served. */
export class Serving implements AsyncDisposable {
  readonly server: Server
  readonly #app: Express
  readonly #settings: ServeSettings
  readonly #openRequests: OpenRequests
  readonly #admin: AdminListener | null
  /** The started parts that a shutdown has to end, in the order of their start. */
  readonly #shutdownSteps: ShutdownStep[] = []
  /** Aborted by a signal that comes before the start is complete. */
  readonly #startAbort = new AbortController()
  #isStarted = false
  /** The signal that started the shutdown, and when it came. */
  #shutdownSignal: { readonly signal: NodeJS.Signals; readonly since: number } | null = null
  readonly #onSignal = (signal: NodeJS.Signals) => this.#handleSignal(signal)
  #closing: Promise<void> | null = null

  constructor(app: Express, settings: ServeSettings) {
    this.#app = app
    this.#settings = settings
    const receive = (request: Request, response: Response): void => {
      const scope = openScope(request, response, settings.requestTimeoutMillis)
      if (this.#openRequests.add(scope, response)) scope.run(() => app(request, response))
    }
    this.server = createServerFor(app, receive, receiveTimeouts(settings))
    this.#openRequests = new OpenRequests(this.server)
    const { admin, databases } = settings
    this.#admin = admin === false ? null : new AdminListener({ databases, ...admin })
  }

  /** The URL of the application, such as `http://127.0.0.1:3000`. */
  get url(): string {
    return urlOf(this.server)
  }

  get port(): number {
    return Number(new URL(this.url).port || 80)
  }

  /** The URL of the admin listener, or null without the option `admin`. */
  get adminUrl(): string | null {
    return this.#admin?.url ?? null
  }

  /**
   * Shuts down as after a signal, but does not end the process. Further calls return the same promise.
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
    const stopped = once(this.#startAbort.signal, 'abort').then(() =>
      this.#startAbort.signal.throwIfAborted(),
    )
    const unlessStopped = (step: unknown): Promise<unknown> => Promise.race([step, stopped])
    try {
      await this.#startAdmin(unlessStopped)
      for (const { database, required } of databases) {
        if (required) {
          this.#shutdownSteps.push(disconnectStep(database))
          await unlessStopped(this.#inStartScope(() => connectRequired(database, logger)))
        } else {
          const optional = new OptionalDatabase(database, logger)
          this.#shutdownSteps.push(optional.shutdownStep)
          await unlessStopped(optional.start())
        }
      }
      await unlessStopped(this.#inStartScope(onStartup))
      this.#shutdownSteps.push({ name: 'onShutdown', end: async () => void (await onShutdown()) })
      await unlessStopped(listen(this.server, port, host))
      this.server.on('error', (error) => logger.error(`the HTTP server reports: ${error.message}`))
      this.#isStarted = true
    } catch (error) {
      // The first error is the reason; errors of the clean-up would only hide it.
      await this.close().catch(() => {})
      throw error
    }
    logger.info(`listening on ${this.url}`)
  }

  /** Starts the admin listener. It comes first and ends last, so that a slow start can be watched. */
  async #startAdmin(unlessStopped: (step: unknown) => Promise<unknown>): Promise<void> {
    const admin = this.#admin
    if (admin === null) return
    this.#shutdownSteps.push({ name: 'the listener for operators', end: () => admin.close() })
    await unlessStopped(admin.start())
    this.#settings.logger.info(`pool monitor and metrics on ${admin.url}`)
  }

  /** Runs a step of the start in a scope whose queries a signal cancels. */
  #inStartScope(work: () => unknown): unknown {
    return runInScope({ label: 'start-up', signal: this.#startAbort.signal }, work)
  }

  #handleSignal(signal: NodeJS.Signals): void {
    const { exit, logger } = this.#settings
    if (this.#shutdownSignal !== null) {
      const { signal: first, since } = this.#shutdownSignal
      if (signal === first && performance.now() - since < REPEATED_SIGNAL_MILLIS) return
      logger.warn(`${signal} again: ending at once`)
      exit(128 + constants.signals[signal], signal)
      return
    }
    this.#shutdownSignal = { signal, since: performance.now() }
    logger.info(`${signal}: shutting down, ${this.#openRequests.requests} requests in flight`)
    if (!this.#isStarted)
      this.#startAbort.abort(new Error(`${signal} came before the application was started.`))
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
      this.#openRequests.drain()
      await sleep(readinessGraceMillis)
      const millisLeft = Math.max(limit - performance.now(), 0)
      const closed = this.#openRequests.close({
        // Quiet connections must not use up the time of the later steps.
        keepAliveGraceMillis: Math.min(this.#settings.keepAliveGraceMillis, millisLeft / 2),
        onGivenUp: (label) => logger.warn(`${label} was given up: the rest of its body did not come`),
      })
      await settlesWithin(closed, millisLeft)
      const unanswered = this.#openRequests.unanswered()
      if (unanswered.length > 0) complaints.push(`not answered: ${unanswered.join(', ')}`)
      this.#openRequests.destroy()
    }
    for (const step of this.#shutdownSteps.toReversed()) complaints.push(...(await runStep(step, limit)))
    for (const signal of signals) process.off(signal, this.#onSignal)
    if (complaints.length > 0) throw new ShutdownError(complaints)
  }
}

/** Returns Node's options for how long clients may take to send a request, and how often Node looks for slow ones. */
function receiveTimeouts({ headersTimeoutMillis, receiveTimeoutMillis }: ServeSettings) {
  return {
    // Node refuses a limit for headers that is longer than that for the whole request.
    headersTimeout: Math.min(headersTimeoutMillis, receiveTimeoutMillis || Infinity),
    requestTimeout: receiveTimeoutMillis,
    connectionsCheckingInterval: Math.max(100, Math.min(headersTimeoutMillis / 4, 5000)),
  }
}

/** The shutdown took longer than its limit, or a part of it failed. Everything has been ended nevertheless. */
export class ShutdownError extends Error {
  constructor(readonly complaints: readonly string[]) {
    super(`The shutdown was not clean: ${complaints.join('; ')}.`)
    this.name = 'ShutdownError'
  }
}
