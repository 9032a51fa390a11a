/** Connects the databases of an application, logs which one it waits for, and keeps trying for one that is not required. */
import { setTimeout as sleep } from 'node:timers/promises'
import { type ConnectRetryEvent, type Database, runInScope } from '../database'
import { type ShutdownStep, disconnectStep, messageOf, settlesWithin } from './shutdown-step'
import type { Logger } from './serve-options'

/** How long to wait for a silent server before the first log line. */
const FIRST_LOG_MILLIS = 1000
/** The interval of log lines while the start waits for a database. */
const LOG_EVERY_MILLIS = 5000
/** The longest time that the start waits for a database that is not required. */
const MAX_START_WAIT_MILLIS = 1000
/** The pause between calls of `connect()` for a database that is not required; each lasts up to its connectTimeoutMillis. */
const RETRY_PAUSE_MILLIS = 1000
/** The interval of log lines while the application runs without a database. */
const LOG_OPTIONAL_EVERY_MILLIS = 60_000

/**
 * Connects a required database.
 *
 * @throws what its `connect()` throws
 */
export async function connectRequired(database: Database, logger: Logger): Promise<void> {
  const where = describe(database)
  const since = performance.now()
  let reason = 'it gives no sign of life'
  const logWaiting = (): void => {
    const passed = performance.now() - since
    const left = Math.max(database.connectTimeoutMillis - passed, 0)
    const waited = passed < LOG_EVERY_MILLIS ? '' : ` for ${seconds(passed)}`
    logger.warn(`${where}: cannot be reached${waited} (${reason}). Trying for another ${seconds(left)}.`)
    timer = setTimeout(logWaiting, LOG_EVERY_MILLIS)
  }
  let timer = setTimeout(logWaiting, FIRST_LOG_MILLIS)
  let isFirst = true
  const onRetry = ({ error }: ConnectRetryEvent): void => {
    reason = withoutPeriod(error.message)
    if (!isFirst) return
    isFirst = false
    clearTimeout(timer)
    logWaiting()
  }
  database.on('connectRetry', onRetry)
  try {
    await database.connect()
  } finally {
    clearTimeout(timer)
    database.off('connectRetry', onRetry)
  }
  logger.info(`${where}: connected`)
}

/** A database that is not required, so that the application runs without it until it is connected. */
export class OptionalDatabase {
  readonly #database: Database
  readonly #logger: Logger
  readonly #stopped = new AbortController()
  #connecting: Promise<void> = Promise.resolve()
  #lastLogAt = -Infinity

  constructor(database: Database, logger: Logger) {
    this.#database = database
    this.#logger = logger
  }

  /**
   * Starts connecting, and goes on in the background until the database is connected or `shutdownStep` is ended. Resolves when
   * it is connected, when the first attempt has failed, or after a second.
   */
  async start(): Promise<void> {
    const firstAttempt = new Promise<void>((resolve) => {
      // Outlives the start: a shutdown stops it through `shutdownStep`.
      this.#connecting = runInScope({ label: 'start-up', signal: this.#stopped.signal }, () =>
        this.#connect(resolve),
      )
    })
    await settlesWithin(firstAttempt, MAX_START_WAIT_MILLIS)
  }

  get shutdownStep(): ShutdownStep {
    const disconnection = disconnectStep(this.#database)
    return {
      ...disconnection,
      end: async (millisLeft) => {
        this.#stopped.abort(new Error('The application is shutting down.'))
        await Promise.all([this.#connecting, disconnection.end(millisLeft)])
      },
    }
  }

  async #connect(onFirstAttempt: () => void): Promise<void> {
    const onFailure = (error: unknown): void => {
      this.#logFailure(error)
      onFirstAttempt()
    }
    const onRetry = ({ error }: ConnectRetryEvent): void => onFailure(error)
    const { signal } = this.#stopped
    this.#database.on('connectRetry', onRetry)
    while (!signal.aborted && !this.#database.isConnected) {
      try {
        await this.#database.connect()
        this.#logger.info(`${describe(this.#database)}: connected`)
      } catch (error) {
        if (!signal.aborted) onFailure(error)
        await sleep(RETRY_PAUSE_MILLIS, undefined, { signal }).catch(() => {})
      }
    }
    this.#database.off('connectRetry', onRetry)
    onFirstAttempt()
  }

  #logFailure(error: unknown): void {
    if (performance.now() - this.#lastLogAt < LOG_OPTIONAL_EVERY_MILLIS) return
    this.#lastLogAt = performance.now()
    this.#logger.warn(
      `${describe(this.#database)}: cannot be reached (${withoutPeriod(messageOf(error))}). ` +
        'It is not required: only requests that use it fail, until it is there.',
    )
  }
}

function describe(database: Database): string {
  return `database ${database.name} (${String(database.url)})`
}

function seconds(millis: number): string {
  return `${(millis / 1000).toFixed(millis < 10_000 ? 1 : 0)} s`
}

function withoutPeriod(text: string): string {
  return text.replace(/\.$/, '')
}
