/** Connects the databases of an application, says which one is waited for, and goes on trying for one that may be late. */
import { setTimeout as sleep } from 'node:timers/promises'
import { type ConnectRetryEvent, type Database, runInScope } from '../database'
import { type Begun, disconnectionOf, messageOf, settles } from './shutdown-step'
import type { Logger } from './serve-options'

/** How long nothing is said of a server that gives no sign of life. */
const SILENT_MILLIS = 1000
/** One line in that time while it is waited for. */
const REPEAT_MILLIS = 5000
/** An application that can do without a database does not wait for it longer than this. */
const FIRST_TRY_MILLIS = 1000
/** Between the tries for a database that the application does without; each goes on for its connectTimeoutMillis. */
const PAUSE_MILLIS = 1000
/** One line in that time while the application does without it. */
const REPEAT_LATE_MILLIS = 60_000

/**
 * Connects a database that has to be there.
 *
 * @throws what its `connect()` throws
 */
export async function connect(database: Database, logger: Logger): Promise<void> {
  const where = whereabouts(database)
  const since = performance.now()
  let reason = 'it gives no sign of life'
  const tell = (): void => {
    const passed = performance.now() - since
    const left = Math.max(database.connectTimeoutMillis - passed, 0)
    const waited = passed < REPEAT_MILLIS ? '' : ` for ${seconds(passed)}`
    logger.warn(`${where}: cannot be reached${waited} (${reason}). Trying for another ${seconds(left)}.`)
    timer = setTimeout(tell, REPEAT_MILLIS)
  }
  let timer = setTimeout(tell, SILENT_MILLIS)
  let isFirst = true
  const onRetry = ({ error }: ConnectRetryEvent): void => {
    reason = withoutPeriod(error.message)
    if (!isFirst) return
    isFirst = false
    clearTimeout(timer)
    tell()
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

/** A database that the application does without while it is not there. */
export class LateDatabase {
  readonly #database: Database
  readonly #logger: Logger
  readonly #end = new AbortController()
  #connecting: Promise<void> = Promise.resolve()
  #saidAt = -Infinity

  constructor(database: Database, logger: Logger) {
    this.#database = database
    this.#logger = logger
  }

  /**
   * Begins to connect it, and goes on until it is there or `begun` is ended. Resolves when it is connected, when the
   * first try has failed, or when it takes too long to be waited for.
   */
  async start(): Promise<void> {
    const firstTry = new Promise<void>((resolve) => {
      // On its own from here on: whatever ends the start ends it by `begun`.
      this.#connecting = runInScope({ label: 'start-up', signal: this.#end.signal }, () =>
        this.#connect(resolve),
      )
    })
    await settles(firstTry, FIRST_TRY_MILLIS)
  }

  get begun(): Begun {
    const disconnection = disconnectionOf(this.#database)
    return {
      ...disconnection,
      end: async (millisLeft) => {
        this.#end.abort(new Error('The application is shutting down.'))
        await Promise.all([this.#connecting, disconnection.end(millisLeft)])
      },
    }
  }

  async #connect(tried: () => void): Promise<void> {
    const onFailure = (error: unknown): void => {
      this.#tell(error)
      tried()
    }
    const onRetry = ({ error }: ConnectRetryEvent): void => onFailure(error)
    const { signal } = this.#end
    this.#database.on('connectRetry', onRetry)
    while (!signal.aborted && !this.#database.isConnected) {
      try {
        await this.#database.connect()
        this.#logger.info(`${whereabouts(this.#database)}: connected`)
      } catch (error) {
        if (!signal.aborted) onFailure(error)
        await sleep(PAUSE_MILLIS, undefined, { signal }).catch(() => {})
      }
    }
    this.#database.off('connectRetry', onRetry)
    tried()
  }

  #tell(error: unknown): void {
    if (performance.now() - this.#saidAt < REPEAT_LATE_MILLIS) return
    this.#saidAt = performance.now()
    this.#logger.warn(
      `${whereabouts(this.#database)}: cannot be reached (${withoutPeriod(messageOf(error))}). ` +
        'It is not required: only requests that use it fail, until it is there.',
    )
  }
}

function whereabouts(database: Database): string {
  return `database ${database.name} (${String(database.url)})`
}

function seconds(millis: number): string {
  return `${(millis / 1000).toFixed(millis < 10_000 ? 1 : 0)} s`
}

function withoutPeriod(text: string): string {
  return text.replace(/\.$/, '')
}
